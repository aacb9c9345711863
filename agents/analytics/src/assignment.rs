//! Who does what when: the cheapest assignment of jobs to slots.

use pathfinding::{kuhn_munkres::kuhn_munkres_min, matrix::Matrix};

/// Assigns each job (row) to one slot (column), at the least total cost among the assignments that serve most jobs.
///
/// `cost[job][slot]` is the price of a pair, at least 0, and `None` where the pair is forbidden; all rows have the same
/// length. The answer has one entry per job: its slot, or `None` when it stays without one. No slot is used twice.
/// Takes O(n³) for n = jobs + slots, so hundreds of each are a matter of milliseconds.
///
/// # Panics
///
/// When the rows differ in length, which is a mistake of the caller.
///
/// # Source
///
/// Kuhn, *The Hungarian Method for the Assignment Problem*, 1955, as implemented by the crate `pathfinding`.
pub fn assign(cost: &[Vec<Option<i64>>]) -> Vec<Option<usize>> {
    let n_slots = cost.first().map_or(0, Vec::len);
    assert!(cost.iter().all(|row| row.len() == n_slots), "every job needs a cost for each of the {n_slots} slots");
    if n_slots == 0 {
        return vec![None; cost.len()];
    }
    let dearest = cost.iter().flatten().flatten().copied().max().unwrap_or(0);
    // Leaving one job out costs more than serving all others at the dearest price, so that serving comes first; a
    // forbidden pair costs more than leaving a job out, so that it is never taken while the job's own way out exists.
    let unserved =
        dearest.saturating_add(1).saturating_mul(cost.len() as i64 + 1).min(i64::MAX / (8 * (cost.len() as i64 + 1)));
    let forbidden = unserved * 2;
    let weights = Matrix::from_fn(cost.len(), n_slots + cost.len(), |(job, column)| match cost[job].get(column) {
        Some(price) => price.unwrap_or(forbidden),
        None => unserved,
    });
    let (_, chosen) = kuhn_munkres_min(&weights);
    chosen
        .into_iter()
        .enumerate()
        .map(|(job, slot)| (slot < n_slots && cost[job][slot].is_some()).then_some(slot))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Jobs served and their total cost.
    fn worth(cost: &[Vec<Option<i64>>], chosen: &[Option<usize>]) -> (usize, i64) {
        let prices: Vec<i64> =
            chosen.iter().zip(cost).filter_map(|(slot, row)| slot.map(|slot| row[slot].unwrap())).collect();
        (prices.len(), prices.iter().sum())
    }

    fn best_by_trying_all(cost: &[Vec<Option<i64>>], used: &mut Vec<bool>, served: usize, total: i64) -> (usize, i64) {
        let Some((row, rest)) = cost.split_first() else { return (served, total) };
        let mut best = best_by_trying_all(rest, used, served, total);
        for slot in 0..row.len() {
            if let (Some(price), false) = (row[slot], used[slot]) {
                used[slot] = true;
                let (n, sum) = best_by_trying_all(rest, used, served + 1, total + price);
                used[slot] = false;
                if best.0 < n || (best.0 == n && sum < best.1) {
                    best = (n, sum);
                }
            }
        }
        best
    }

    #[test]
    fn the_cheapest_pairs_are_found_where_the_first_choice_is_wrong() {
        let cost = vec![vec![Some(1), Some(2)], vec![Some(1), Some(9)]];
        assert_eq!(assign(&cost), [Some(1), Some(0)]);
    }

    #[test]
    fn a_job_without_a_free_slot_stays_unassigned() {
        assert_eq!(assign(&[vec![None, Some(3)], vec![None, Some(1)]]), [None, Some(1)]);
        assert_eq!(assign(&[vec![], vec![]]), [None, None]);
        assert_eq!(assign(&[]), []);
    }

    proptest! {
        #[test]
        fn no_assignment_is_better(
            cost in (0usize..5, 1usize..5).prop_flat_map(|(jobs, slots)| prop::collection::vec(
                prop::collection::vec(prop::option::weighted(0.7, 0i64..20), slots), jobs)),
        ) {
            let chosen = assign(&cost);
            let mut slots: Vec<usize> = chosen.iter().flatten().copied().collect();
            slots.sort_unstable();
            prop_assert!(slots.windows(2).all(|pair| pair[0] != pair[1]), "a slot was used twice: {chosen:?}");
            let n_slots = cost.first().map_or(0, Vec::len);
            prop_assert_eq!(worth(&cost, &chosen), best_by_trying_all(&cost, &mut vec![false; n_slots], 0, 0));
        }
    }
}
