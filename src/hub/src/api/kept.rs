//! Models of users as they were told to the same asker the last time.
//!
//! Clients ask again and again for a user who has not changed. A model is made of the user's row and those of the servers,
//! of what the asker may do, and of the states of the servers; it is kept with all of these, and told again only while
//! they are the very same. Permissions may ask about groups, which are the database's, so it also has to be from its
//! present generation (`store/src/memory.rs`).

use std::sync::Arc;

use hubd_proto::UserName;
use hubd_store::{Memory, Spawner, StoreError, User};
use serde_json::json;

use super::answer::{Answer, Tagged, read_answer};
use super::ask::Ask;
use super::models::{Servers, Viewer};
use crate::Hub;
use crate::auth::Caller;
use crate::auth::scopes::Held;
use crate::servers::Mark;

/// Longest text that is kept, in bytes: people with many servers are few, and there are thousands of places.
const TEXT_BYTES_MAX: usize = 4096;
/// The field that is filled in for each answer: it holds what the authenticator keeps secret.
const AUTH_STATE: &str = "auth_state";

/// By token, user and servers that are listed.
#[derive(Default)]
pub(crate) struct KeptModels(Memory<(i64, i64, Servers), Arc<Kept>>);

/// A model, and what it was made of.
struct Kept {
    of: Origin,
    answer: Tagged,
}

/// What a model is made of.
struct Origin {
    user: Arc<User>,
    spawners: Arc<[Spawner]>,
    scopes: Arc<Held>,
    name: Option<UserName>,
    marks: Vec<Mark>,
}

impl Origin {
    /// As it is now.
    fn now(hub: &Hub, caller: &Caller, user: &Arc<User>) -> Result<Self, StoreError> {
        let name = UserName::new(user.name.as_str()).ok();
        Ok(Self {
            user: Arc::clone(user),
            spawners: hub.store.recent_spawners_of(&user.name)?,
            scopes: Arc::clone(&caller.scopes),
            marks: name.as_ref().map(|name| hub.servers.marks(name)).unwrap_or_default(),
            name,
        })
    }

    /// Whether nothing has changed since.
    fn holds(&self, hub: &Hub, caller: &Caller, user: &Arc<User>) -> Result<bool, StoreError> {
        let same = |(before, now): (&Mark, &Mark)| Arc::ptr_eq(before, now);
        let marks = self.name.as_ref().map(|name| hub.servers.marks(name)).unwrap_or_default();
        Ok(Arc::ptr_eq(&self.user, user)
            && Arc::ptr_eq(&self.scopes, &caller.scopes)
            && Arc::ptr_eq(&self.spawners, &hub.store.recent_spawners_of(&user.name)?)
            && self.marks.len() == marks.len()
            && self.marks.iter().zip(&marks).all(same))
    }
}

/// The answer with the model of a user, of whom `caller` may see something.
pub(super) fn user_answer(ask: &Ask, caller: &Caller, user: &Arc<User>, servers: Servers) -> Answer {
    let (hub, headers) = (&*ask.hub, &ask.parts.headers);
    // What a cookie's owner may do is looked up anew each time.
    let Some(token) = &caller.token else { return anew(ask, caller, user, servers) };
    let (memory, key, generation) = (&hub.models.0, (token.id, user.id, servers), hub.store.generation());
    let moment = match memory.recall(generation, &key) {
        Ok(kept) if kept.of.holds(hub, caller, user)? => return Ok(kept.answer.answer(headers)),
        Ok(_) => memory.moment(generation),
        Err(moment) => moment,
    };
    // Looked up before the model is made: if something changes meanwhile, it will never be the same again.
    let of = Origin::now(hub, caller, user)?;
    let model = Viewer { hub, scopes: &caller.scopes }.user(user, servers)?;
    if model.as_ref().is_some_and(|model| model.get(AUTH_STATE).is_some()) {
        return anew(ask, caller, user, servers);
    }
    let answer = Tagged::new(&json!(model));
    let response = answer.answer(headers);
    if answer.len() <= TEXT_BYTES_MAX {
        memory.keep(moment, key, Arc::new(Kept { of, answer }));
    }
    Ok(response)
}

fn anew(ask: &Ask, caller: &Caller, user: &User, servers: Servers) -> Answer {
    let mut model = json!(Viewer { hub: &ask.hub, scopes: &caller.scopes }.user(user, servers)?);
    super::user_changes::fill_auth_state(ask, user, &mut model)?;
    Ok(read_answer(&ask.parts.headers, &model))
}
