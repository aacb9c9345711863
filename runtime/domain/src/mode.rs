//! Operating modes: what an asset is doing, told from the readings of its sensors.
//!
//! A condition compares sensors with numbers and joins such comparisons by `and`, `or`, `not` and parentheses:
//! `pump-1/speed < 50 or not (pump-1/valve >= 1)`. `not` binds closest, `or` last. A sensor whose id holds blanks or
//! signs of a comparison stands in quotes.

use crate::SensorId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Longest condition, in bytes.
pub const CONDITION_BYTES_MAX: usize = 1_024;
/// Most levels of load of an asset. Each costs a detector for every sensor of it.
pub const LEVELS_MAX: usize = 8;
/// Longest time to start: a day.
pub const STARTING_SECONDS_MAX: u32 = 86_400;
/// Deepest nesting of `not` and parentheses.
const DEPTH_MAX: usize = 32;

/// How the modes of an asset are told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Modes {
    /// When it is off. Its readings are then recorded and held against declared limits; nothing else is made of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub off: Option<Condition>,
    /// How long it starts after it was off. It counts as off for as long.
    #[serde(default)]
    pub starting_seconds: u32,
    /// What it can be doing while it is on; the first that holds counts. Each is judged by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<Level>,
}

/// One load level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Level {
    /// Name for people.
    pub name: String,
    /// When the asset is at it.
    pub when: Condition,
}

/// What an asset is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Nothing.
    Off,
    /// It was off a moment ago.
    Starting,
    /// It works, at no level that was declared.
    On,
    /// It works at the level of that name.
    At(String),
}

impl Mode {
    /// The name of the mode.
    pub fn name(&self) -> &str {
        match self {
            Self::Off => "off",
            Self::Starting => "starting",
            Self::On => "on",
            Self::At(level) => level,
        }
    }

    /// The level, if it is at one.
    pub fn level(&self) -> Option<&str> {
        match self {
            Self::At(level) => Some(level),
            Self::Off | Self::Starting | Self::On => None,
        }
    }

    /// Whether what is measured says how it works.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::On | Self::At(_))
    }
}

impl Modes {
    /// All conditions.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        self.off.iter().chain(self.levels.iter().map(|level| &level.when))
    }
}

/// A condition on the newest readings of some sensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    text: String,
    root: Node,
}

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Compares { sensor: SensorId, operator: Operator, number: f64 },
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
    Unequal,
}

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The character at which it stops making sense, from 1.
    pub column: usize,
    /// What is wrong there.
    pub detail: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "character {}: {}", self.column, self.detail)
    }
}

impl std::error::Error for Malformed {}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    ///
    /// [`Malformed`] with the place.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if CONDITION_BYTES_MAX < text.len() {
            let detail = format!("a condition has at most {CONDITION_BYTES_MAX} bytes");
            return Err(Malformed { column: 1, detail });
        }
        let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0 };
        let root = parser.any()?;
        match parser.peek() {
            Token::End => Ok(Self { text: text.to_owned(), root }),
            other => Err(parser.wrong(format!("{other} after the end of the condition"))),
        }
    }

    /// The condition as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it holds, by the newest value of each sensor; `None` while that depends on one that was not heard of.
    pub fn holds(&self, value: &impl Fn(&SensorId) -> Option<f64>) -> Option<bool> {
        self.root.holds(value)
    }

    /// The sensors that it looks at, in the order in which they stand there.
    pub fn sensors(&self) -> Vec<&SensorId> {
        let mut sensors = Vec::new();
        self.root.sensors(&mut sensors);
        sensors
    }
}

impl TryFrom<String> for Condition {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        Self::parse(&text)
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        condition.text
    }
}

impl JsonSchema for Condition {
    fn schema_name() -> Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "maxLength": CONDITION_BYTES_MAX })
    }
}

impl Node {
    fn holds(&self, value: &impl Fn(&SensorId) -> Option<f64>) -> Option<bool> {
        // One part that decides is enough, whatever is not known yet.
        let joined = |parts: &[Self], deciding: bool| {
            let mut known = Some(!deciding);
            for part in parts {
                match part.holds(value) {
                    Some(holds) if holds == deciding => return Some(deciding),
                    Some(_) => {}
                    None => known = None,
                }
            }
            known
        };
        match self {
            Self::Compares { sensor, operator, number } => Some(operator.holds(value(sensor)?, *number)),
            Self::And(parts) => joined(parts, false),
            Self::Or(parts) => joined(parts, true),
            Self::Not(part) => part.holds(value).map(|holds| !holds),
        }
    }

    fn sensors<'a>(&'a self, found: &mut Vec<&'a SensorId>) {
        match self {
            Self::Compares { sensor, .. } => found.push(sensor),
            Self::And(parts) | Self::Or(parts) => parts.iter().for_each(|part| part.sensors(found)),
            Self::Not(part) => part.sensors(found),
        }
    }
}

impl Operator {
    fn holds(self, value: f64, number: f64) -> bool {
        match self {
            Self::Below => value < number,
            Self::AtMost => value <= number,
            Self::Above => number < value,
            Self::AtLeast => number <= value,
            Self::Equal => value == number,
            Self::Unequal => value != number,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// A sensor, a number or a word of the language.
    Word(String),
    /// Never a word of the language.
    Quoted(String),
    Compare(Operator),
    Open,
    Close,
    End,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(text) | Self::Quoted(text) => write!(f, "{text:?}"),
            Self::Compare(_) => f.write_str("a comparison"),
            Self::Open => f.write_str("an opening parenthesis"),
            Self::Close => f.write_str("a closing parenthesis"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// The tokens of `text`, each with its column, and the end.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Malformed> {
    let letters: Vec<char> = text.chars().collect();
    let is_word = |letter: char| !letter.is_whitespace() && !"()<>=!\"'".contains(letter);
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&letter) = letters.get(at) {
        let column = at + 1;
        let then_equal = letters.get(at + 1) == Some(&'=');
        let (token, length) = match letter {
            _ if letter.is_whitespace() => {
                at += 1;
                continue;
            }
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '<' if then_equal => (Token::Compare(Operator::AtMost), 2),
            '<' => (Token::Compare(Operator::Below), 1),
            '>' if then_equal => (Token::Compare(Operator::AtLeast), 2),
            '>' => (Token::Compare(Operator::Above), 1),
            '=' => (Token::Compare(Operator::Equal), if then_equal { 2 } else { 1 }),
            '!' if then_equal => (Token::Compare(Operator::Unequal), 2),
            '!' => return Err(Malformed { column, detail: "\"!\" alone; unequal is !=, and not is not".to_owned() }),
            '"' | '\'' => {
                let quoted: String = letters[at + 1..].iter().take_while(|other| **other != letter).collect();
                let n = quoted.chars().count();
                if letters.len() <= at + 1 + n {
                    return Err(Malformed { column, detail: "a quote that is never closed".to_owned() });
                }
                (Token::Quoted(quoted), n + 2)
            }
            _ => {
                let word: String = letters[at..].iter().take_while(|other| is_word(**other)).collect();
                let n = word.chars().count();
                (Token::Word(word), n)
            }
        };
        tokens.push((column, token));
        at += length;
    }
    tokens.push((letters.len() + 1, Token::End));
    Ok(tokens)
}

struct Parser {
    /// Ends with [`Token::End`].
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].1
    }

    /// The next token. The end is never passed.
    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn take_word(&mut self, word: &str) -> bool {
        let is_next = matches!(self.peek(), Token::Word(next) if next.eq_ignore_ascii_case(word));
        if is_next {
            self.take();
        }
        is_next
    }

    fn wrong(&self, detail: String) -> Malformed {
        Malformed { column: self.tokens[self.next].0, detail }
    }

    fn any(&mut self) -> Result<Node, Malformed> {
        let mut parts = vec![self.all()?];
        while self.take_word("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::Or(parts) })
    }

    fn all(&mut self) -> Result<Node, Malformed> {
        let mut parts = vec![self.one()?];
        while self.take_word("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::And(parts) })
    }

    fn one(&mut self) -> Result<Node, Malformed> {
        if self.depth == DEPTH_MAX {
            return Err(self.wrong(format!("nested more than {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let node = if self.take_word("not") {
            Node::Not(Box::new(self.one()?))
        } else if *self.peek() == Token::Open {
            self.take();
            let inner = self.any()?;
            if *self.peek() != Token::Close {
                return Err(self.wrong(format!("{} where a parenthesis should close", self.peek())));
            }
            self.take();
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Node, Malformed> {
        let sensor = match self.peek() {
            Token::Word(word) if ["and", "or"].iter().any(|reserved| word.eq_ignore_ascii_case(reserved)) => {
                return Err(self.wrong(format!("{word:?} where a sensor should stand")));
            }
            Token::Word(id) | Token::Quoted(id) if !id.is_empty() => SensorId::from(id.as_str()),
            other => return Err(self.wrong(format!("{other} where a sensor should stand"))),
        };
        self.take();
        let Token::Compare(operator) = *self.peek() else {
            return Err(self.wrong(format!("{} where one of < <= > >= = != should stand", self.peek())));
        };
        self.take();
        let number = match self.peek() {
            Token::Word(word) => word.parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        };
        let Some(number) = number else {
            return Err(self.wrong(format!("{} where a number should stand", self.peek())));
        };
        self.take();
        Ok(Node::Compares { sensor, operator, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, values: &[(&str, f64)]) -> Option<bool> {
        let condition = Condition::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        condition.holds(&|sensor| values.iter().find(|(id, _)| *id == sensor.as_str()).map(|(_, value)| *value))
    }

    #[test]
    fn comparisons_and_their_joins_mean_what_they_say() {
        let check = |text: &str, expected: bool| {
            assert_eq!(holds(text, &[("pump-1/speed", 50.0), ("valve 2", -1.5)]), Some(expected), "{text}");
        };
        check("pump-1/speed < 50", false);
        check("pump-1/speed<=50", true);
        check("pump-1/speed > 49.9", true);
        check("pump-1/speed >= 50.1", false);
        check("pump-1/speed = 50", true);
        check("pump-1/speed == 5e1", true);
        check("pump-1/speed != 50", false);
        check("'valve 2' < -1", true);
        check("\"valve 2\" < 0 AND pump-1/speed < 50", false);
        // `and` binds closer than `or`, `not` closer than both.
        check("pump-1/speed = 50 or pump-1/speed = 1 and pump-1/speed = 2", true);
        check("(pump-1/speed = 50 or pump-1/speed = 1) and pump-1/speed = 2", false);
        check("not pump-1/speed = 1 and pump-1/speed = 50", true);
        check("not (pump-1/speed = 50 or pump-1/speed = 1)", false);
    }

    #[test]
    fn what_was_not_heard_of_leaves_open_only_what_depends_on_it() {
        let values = [("a", 1.0)];
        assert_eq!(holds("b > 0", &values), None);
        assert_eq!(holds("not b > 0", &values), None);
        assert_eq!(holds("a > 0 or b > 0", &values), Some(true));
        assert_eq!(holds("a < 0 or b > 0", &values), None);
        assert_eq!(holds("a < 0 and b > 0", &values), Some(false));
    }

    #[test]
    fn a_mistake_is_told_with_its_place() {
        let check = |text: &str, column: usize, detail: &str| {
            let error = Condition::parse(text).expect_err(text);
            assert!(error.column == column && error.detail.contains(detail), "{text}: {error}");
        };
        check("", 1, "the end where a sensor");
        check("speed", 6, "the end where one of < <= > >= = != should stand");
        check("speed < fast", 9, "\"fast\" where a number should stand");
        check("speed < inf", 9, "where a number");
        check("speed < 50 and", 15, "the end where a sensor");
        check("speed < 50 speed > 3", 12, "\"speed\" after the end");
        check("(speed < 50", 12, "the end where a parenthesis should close");
        check("or < 3", 1, "\"or\" where a sensor should stand");
        check("ölstand ! 3", 9, "unequal is !=");
        check("\"speed < 50", 1, "never closed");
        check(&"(".repeat(40), 33, "nested more than 32 deep");
        check(&"x".repeat(1_025), 1, "at most 1024 bytes");
    }

    #[test]
    fn it_goes_through_json_as_it_was_written() {
        let modes: Modes = serde_json::from_str(
            r#"{"off":"s < 5","starting_seconds":60,"levels":[{"name":"full","when":"s > 90 and  t > 1"}]}"#,
        )
        .expect("it is well formed");
        let sensors: Vec<&str> =
            modes.conditions().flat_map(Condition::sensors).map(|sensor| sensor.as_str()).collect();
        assert_eq!(sensors, ["s", "s", "t"]);
        let again = serde_json::to_string(&modes).expect("it is JSON");
        assert!(again.contains("s > 90 and  t > 1"), "{again}");
        assert!(serde_json::from_str::<Condition>("\"s <\"").is_err());
    }
}
