//! One thing declared by itself: the site, an asset, a sensor, a technician. What is declared just so already is left
//! as it is.

use super::{Sensor, TEXT_BYTES_MAX, sensor_document, told};
use crate::api_error::ApiError;
use crate::app::App;
use crate::plant::{self, Plan};
use crate::reply::Reply;
use crate::request::{Call, Fields, lax};
use crate::routes::{Kind, Mounted, Param, entry, mount};
use domain::asset::{Site, Technician};
use domain::{SensorId, TechnicianId};
use persistence::{sensors, technicians};
use serde_json::{Map, Value, json};

/// Skills and shifts of one technician.
const LIST_MAX: usize = 100;

/// Members of the bodies.
pub(crate) const SITE: &[Param] = &[
    Param::required("name", Kind::Text, "Its name"),
    Param::required("time_zone", Kind::Text, "IANA name, such as Europe/Berlin; shifts and quiet hours go by it"),
];
const LEVEL: &[Param] = &[
    Param::required("name", Kind::Text, "Its name"),
    Param::required("when", Kind::Text, "The condition under which the asset is at it"),
];
const MODES: &[Param] = &[
    Param::optional("off", Kind::Text, "The condition under which it is off, such as pump-1/speed < 50"),
    Param::or("starting_seconds", Kind::Int(Some(0), Some(86_400)), "0", "How long it starts after it was off"),
    Param::optional("levels", Kind::List(&Kind::Object(LEVEL)), "At what it can work; the first that holds counts"),
];
pub(crate) const ASSET: &[Param] = &[
    Param::required("id", Kind::Text, "Its id, as readings name it"),
    Param::optional("name", Kind::Text, "Name for people; the id if absent"),
    Param::optional("class", Kind::Text, "What kind of machine it is"),
    Param::optional("parent", Kind::Text, "The asset that it is a part of"),
    Param::optional(
        "modes",
        Kind::Object(MODES),
        "How it is told what it is doing; without them it is judged as a whole",
    ),
];
pub(crate) const SENSOR: &[Param] = &[
    Param::required("id", Kind::Text, "Its id, as readings name it"),
    Param::required("asset", Kind::Text, "The asset that it sits on, which must be declared"),
    Param::required("type", Kind::Text, "What it measures, such as temperature"),
    Param::required("unit", Kind::Text, "In which unit; readings in another one are refused from now on"),
    Param::optional("limit_low", Kind::Number(None, None), "Below this it counts as failed"),
    Param::optional("limit_high", Kind::Number(None, None), "Above this it counts as failed"),
    Param::optional("failure_mode", Kind::Text, "What a case of this sensor suspects"),
];
const SHIFT: &[Param] = &[
    Param::required("weekdays", Kind::List(&Kind::Int(Some(1), Some(7))), "1 = Monday to 7 = Sunday"),
    Param::required("from", Kind::Text, "When it begins, such as 06:00, by the site's clock"),
    Param::required("to", Kind::Text, "When it ends; on the next day if that is not after `from`"),
];
pub(crate) const TECHNICIAN: &[Param] = &[
    Param::required("id", Kind::Text, "Their id"),
    Param::optional("name", Kind::Text, "Their name; the id if absent"),
    Param::required("skills", Kind::List(&Kind::Text), "What they can do, such as mechanical"),
    Param::or("experience_years", Kind::Number(Some(0.0), Some(100.0)), "0", "For how long"),
    Param::required("shifts", Kind::List(&Kind::Object(SHIFT)), "When they work"),
];

pub(super) fn routes(app: &App) -> Mounted {
    Mounted::all([
        mount(app, const { entry("POST", "/api/v1/site") }, site),
        mount(app, const { entry("POST", "/api/v1/assets") }, asset),
        mount(app, const { entry("POST", "/api/v1/sensors") }, sensor),
        mount(app, const { entry("POST", "/api/v1/technicians") }, technician),
    ])
}

async fn site(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let name = lax::name_max(TEXT_BYTES_MAX);
    let (name, time_zone) = (body.required("name", &name), body.required("time_zone", &name));
    declare(&app, &call, body, "site", json!({ "name": name, "time_zone": time_zone })).await?;
    Reply::json(&Site { name, time_zone })
}

async fn asset(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let name = lax::name_max(TEXT_BYTES_MAX);
    let id = body.required("id", &name);
    let members = json!({
        "id": id,
        "name": body.optional("name", &name),
        "class": body.optional("class", &name),
        "parent": body.optional("parent", &name),
        "modes": body.optional("modes", modes),
    });
    declare(&app, &call, body, "asset", members).await?;
    told(&app, &id).await
}

/// Reads modes: their shape alone, which a plant file has as well.
fn modes(value: &Value) -> Result<Value, lax::Wrong> {
    let known = |value: &Value, params: &[Param]| {
        let members = lax::object(value)?;
        let unknown = members.keys().find(|name| params.iter().all(|param| param.name != name.as_str())).cloned();
        unknown.map_or(Ok(members), |name| Err(lax::Wrong::new(format!("There is no member {name:?}"))))
    };
    let text = |members: &Map<String, Value>, name: &str| members.get(name).map(lax::string).transpose();
    let level = |value: &Value| {
        let members = known(value, LEVEL)?;
        Ok(json!({ "name": text(&members, "name")?, "when": text(&members, "when")? }))
    };
    let members = known(value, MODES)?;
    Ok(json!({
        "off": text(&members, "off")?,
        "starting_seconds": members.get("starting_seconds").map(lax::int_in(0, 86_400)).transpose()?,
        "levels": members.get("levels").map(lax::list(LIST_MAX, level)).transpose()?,
    }))
}

async fn sensor(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let name = lax::name_max(TEXT_BYTES_MAX);
    let id = body.required("id", &name);
    let members = json!({
        "id": id,
        "asset": body.required("asset", &name),
        "type": body.required("type", &name),
        "unit": body.required("unit", &name),
        "limit_low": body.optional("limit_low", lax::float),
        "limit_high": body.optional("limit_high", lax::float),
        "failure_mode": body.optional("failure_mode", &name),
    });
    declare(&app, &call, body, "sensor", members).await?;
    let id = SensorId::from(id);
    let declared = sensors::get(&app.history, &id).await?;
    let declared = declared.ok_or_else(|| ApiError::NotFound(format!("There is no sensor {id}")))?;
    let document: Sensor = sensor_document(&app, declared).await?;
    Reply::json(&document)
}

async fn technician(app: App, call: Call) -> Result<Reply, ApiError> {
    let mut body = call.object()?;
    let name = lax::name_max(TEXT_BYTES_MAX);
    let id = body.required("id", &name);
    let shift = |value: &Value| {
        let members = lax::object(value)?;
        let of_shift = |name: &&Param| members.contains_key(name.name);
        Ok(SHIFT.iter().filter(of_shift).map(|one| (one.name.to_owned(), members[one.name].clone())).collect())
    };
    let shifts: Vec<Map<String, Value>> = body.required("shifts", lax::list(LIST_MAX, shift));
    let members = json!({
        "id": id,
        "name": body.optional("name", &name),
        "skills": body.required("skills", lax::list(LIST_MAX, &name)),
        "experience_years": body.or("experience_years", 0.0, lax::float_in(0.0, 100.0)),
        "shifts": shifts,
    });
    declare(&app, &call, body, "technician", members).await?;
    let id = TechnicianId::from(id);
    let declared: Option<Technician> = technicians::get(&app.history, &id).await?;
    Reply::json(&declared.ok_or_else(|| ApiError::NotFound(format!("There is no technician {id}")))?)
}

/// Declares the thing of that kind and those members, unless it is declared just so. `body` is what they were read of.
async fn declare(app: &App, call: &Call, mut body: Fields, kind: &str, members: Value) -> Result<(), ApiError> {
    let mut plan = Plan::default();
    if body.problem().is_none()
        && let Value::Object(members) = members
    {
        let text = plant::entry(kind, &members);
        plan = plant::checked(&text, &plant::known(&app.history).await?);
        for problem in &plan.problems {
            body.refuse(plant::member(&text, problem.line), &problem.detail);
        }
    }
    body.finish()?;
    let correlation = call.correlation();
    let declarations = plant::declarations(plan, &call.caller.name);
    let events: Vec<_> = declarations.into_iter().map(|event| app.event(&correlation, event)).collect();
    if !events.is_empty() {
        app.append(events, None).await?;
    }
    Ok(())
}
