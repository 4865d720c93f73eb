//! What is remembered is what the database says, whoever wrote last.

use std::time::{Duration, SystemTime};

use super::*;
use crate::encoding::time_column;
use crate::{NewToken, TokenOwner, hash_token};

fn new_token(owner: TokenOwner, hashed: String, prefix: &str) -> NewToken {
    NewToken {
        owner,
        hashed,
        prefix: prefix.to_owned(),
        client_id: "jupyterhub".into(),
        session_id: None,
        note: String::new(),
        scopes: vec!["inherit".into()],
        created: SystemTime::now(),
        expires_at: None,
    }
}

/// The moment of a question that was not answered.
fn missing(memory: &Memory<String, u8>, generation: u64) -> Moment {
    memory.recall(generation, "missing").unwrap_err()
}

fn recalled(memory: &Memory<String, u8>, generation: u64) -> [Option<u8>; 3] {
    ["a", "b", "c"].map(|key| memory.recall(generation, key).ok())
}

#[test]
fn answers_of_another_generation_are_forgotten_and_never_kept() {
    let memory = Memory::<String, u8>::default();
    memory.keep(missing(&memory, 3), "a".into(), 1);
    assert_eq!(recalled(&memory, 3), [Some(1), None, None]);
    assert_eq!(recalled(&memory, 4), [None; 3]);
    memory.keep(missing(&memory, 4), "b".into(), 2);
    memory.keep(missing(&memory, 3), "c".into(), 3);
    assert_eq!(recalled(&memory, 4), [None, Some(2), None]);
    assert_eq!(recalled(&memory, 3), [None; 3]);
}

#[test]
fn what_was_read_before_something_was_forgotten_is_not_kept() {
    let memory = Memory::<String, u8>::default();
    for key in ["a", "b"] {
        memory.keep(missing(&memory, 1), key.into(), 1);
    }
    let before = missing(&memory, 1);
    memory.forget(["a"].into_iter());
    assert_eq!(recalled(&memory, 1), [None, Some(1), None], "only what was named is forgotten");
    memory.keep(before, "a".into(), 1);
    memory.keep(before, "c".into(), 1);
    assert_eq!(recalled(&memory, 1), [None, Some(1), None]);
    let before = missing(&memory, 1);
    memory.forget_where(|value| *value == 1);
    memory.keep(before, "a".into(), 1);
    assert_eq!(recalled(&memory, 1), [None; 3]);
    memory.keep(missing(&memory, 1), "c".into(), 2);
    assert_eq!(recalled(&memory, 1), [None, None, Some(2)]);
}

#[test]
fn a_memory_does_not_grow_without_end() {
    let memory = Memory::<usize, ()>::default();
    for number in 0..3 * ANSWERS_MAX {
        memory.keep(memory.recall(1, &number).unwrap_err(), number, ());
    }
    assert!(lock(&memory.0).answers.len() <= ANSWERS_MAX);
    assert!(memory.recall(1, &(3 * ANSWERS_MAX - 1)).is_ok());
}

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("hub.sqlite")).unwrap();
    store.notice_changes().unwrap();
    (directory, store)
}

#[test]
fn every_commit_makes_a_generation_also_that_of_another_program() {
    let (_directory, store) = store();
    let first = store.generation();
    store.define_role("r", "", &["self"]).unwrap();
    let second = store.generation();
    assert_ne!(first, second);
    store.notice_changes().unwrap();
    assert_eq!(store.generation(), second, "nobody else wrote");
    let other = Connection::open(store.path()).unwrap();
    other.execute("UPDATE roles SET scopes = '[]' WHERE name = 'r'", []).unwrap();
    store.notice_changes().unwrap();
    assert_ne!(store.generation(), second);
}

#[test]
fn activity_forgets_whom_it_is_about_and_nobody_else() {
    let (_directory, store) = store();
    let now = SystemTime::now();
    for (number, name) in ["alice", "bob"].into_iter().enumerate() {
        let owner = TokenOwner::User(store.ensure_user(name, name, now).unwrap().id);
        store.ensure_spawner(name, "lab", None).unwrap();
        let hashed = hash_token(name, 1, [1; 8]);
        store.create_token(&new_token(owner, hashed, &name[..4.min(name.len())])).unwrap();
        assert_eq!(store.token(name, now).unwrap().unwrap().id, 1 + number as i64);
    }
    let known = |name: &str| {
        let generation = store.generation();
        let recent = &store.recent;
        (
            recent.users.recall(generation, name).is_ok(),
            recent.spawners.recall(generation, name).is_ok(),
            recent.tokens.recall(generation, &recent.tag(name)).is_ok(),
        )
    };
    let read = || {
        for name in ["alice", "bob"] {
            store.recent_user(name).unwrap();
            store.recent_spawners_of(name).unwrap();
            store.token(name, now).unwrap();
        }
    };
    read();
    let generation = store.generation();
    let token = store.token("alice", now).unwrap().unwrap();
    let all = |seconds| Some(now + Duration::from_secs(seconds));
    let same =
        |a: Option<SystemTime>, b: Option<SystemTime>| time_column(a.unwrap()) == time_column(b.unwrap());
    store.note_token(&token, Some("alice"), now + Duration::from_secs(1));
    store.flush_activity().unwrap();
    assert_eq!((known("alice"), known("bob")), ((false, false, false), (true, true, true)));
    assert!(same(store.token("alice", now).unwrap().unwrap().last_activity, all(1)));
    assert!(same(store.recent_user("alice").unwrap().unwrap().last_activity, all(1)));
    read();
    store.record_activity(&[("bob".into(), "lab".into(), now + Duration::from_secs(2))]).unwrap();
    assert_eq!((known("alice"), known("bob")), ((true, true, true), (false, false, true)));
    assert!(same(store.recent_spawners_of("bob").unwrap()[0].last_activity, all(2)));
    read();
    store.record_user_activity("bob", now + Duration::from_secs(3)).unwrap();
    assert_eq!((known("alice"), known("bob").0), ((true, true, true), false));
    store.notice_changes().unwrap();
    assert_eq!(store.generation(), generation, "activity alone makes no generation");
}

#[test]
fn another_program_is_noticed_when_activity_is_written_around_it() {
    let (_directory, store) = store();
    let now = SystemTime::now();
    store.ensure_user("alice", "c", now).unwrap();
    store.record_user_activity("alice", now).unwrap();
    let other = Connection::open(store.path()).unwrap();
    for name in ["x", "y"] {
        store.recent_user("alice").unwrap();
        let generation = store.generation();
        other.execute("UPDATE users SET cookie_id = ?1 WHERE name = 'alice'", [name]).unwrap();
        // Nobody looked between the other's commit and this one.
        store.record_user_activity("bob", now).unwrap();
        store.notice_changes().unwrap();
        assert_ne!(store.generation(), generation);
        assert_eq!(store.recent_user("alice").unwrap().unwrap().cookie_id, name);
    }
}

#[test]
fn nobody_reads_what_was_before_a_write_that_is_acknowledged() {
    let (_directory, store) = store();
    let start = SystemTime::now();
    let names: Vec<String> = (0..4).map(|number| format!("user{number}")).collect();
    for name in &names {
        store.ensure_user(name, name, start).unwrap();
        store.ensure_spawner(name, "", None).unwrap();
    }
    /// Counted also when a writer fails, so that the readers end.
    struct Done<'a>(&'a std::sync::atomic::AtomicUsize);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let running = std::sync::atomic::AtomicUsize::new(names.len());
    std::thread::scope(|scope| {
        for (number, name) in names.iter().enumerate() {
            let (store, running) = (&store, &running);
            scope.spawn(move || {
                let _done = Done(running);
                let id = store.user(name).unwrap().unwrap().id;
                for round in 1..60_u64 {
                    let time = start + Duration::from_secs(round);
                    let written = Some(time_column(time));
                    match (round as usize + number) % 3 {
                        0 => {
                            store.note_user(name, time);
                            store.flush_activity().unwrap();
                        }
                        1 => store.record_activity(&[(name.clone(), String::new(), time)]).unwrap(),
                        _ => store.record_user_activity(name, time).unwrap(),
                    }
                    let user = store.recent_user(name).unwrap().unwrap();
                    assert_eq!(user.last_activity.map(time_column), written, "{name} in round {round}");
                    if (round as usize + number) % 3 == 1 {
                        let spawners = store.recent_spawners_of(name).unwrap();
                        assert_eq!(spawners[0].last_activity.map(time_column), written);
                    }
                    if round % 10 == 0 {
                        store.set_cookie_id(id, &format!("{name} {round}")).unwrap();
                        assert_eq!(
                            store.recent_user(name).unwrap().unwrap().cookie_id,
                            format!("{name} {round}")
                        );
                    }
                }
            });
        }
        // Others, who fill the memory with what they read all the time.
        scope.spawn(|| {
            while running.load(Ordering::SeqCst) > 0 {
                store.notice_changes().unwrap();
                for name in &names {
                    store.recent_user(name).unwrap();
                    store.recent_spawners_of(name).unwrap();
                }
            }
        });
    });
}

#[test]
fn a_remembered_token_expires_and_ends_when_another_program_deletes_it() {
    let (_directory, store) = store();
    let now = SystemTime::now();
    let owner = TokenOwner::User(store.ensure_user("alice", "c", now).unwrap().id);
    let mut token = new_token(owner, hash_token("abcd-1", 1, [1; 8]), "abcd");
    token.expires_at = Some(now + Duration::from_secs(60));
    store.create_token(&token).unwrap();
    (token.hashed, token.expires_at) = (hash_token("abcd-2", 1, [2; 8]), None);
    let lasting = store.create_token(&token).unwrap();
    let holds = |text: &str, seconds| {
        store.notice_changes().unwrap();
        store.token(text, now + Duration::from_secs(seconds)).unwrap().map(|token| token.id)
    };
    for _ in 0..2 {
        assert!(holds("abcd-1", 59).is_some() && holds("abcd-2", 1000) == Some(lasting));
        assert!(holds("abcd-1", 61).is_none() && holds("abcd-3", 0).is_none());
    }
    let other = Connection::open(store.path()).unwrap();
    other.execute("UPDATE api_tokens SET scopes = '[]' WHERE id = ?1", [lasting]).unwrap();
    store.notice_changes().unwrap();
    assert!(store.token("abcd-2", now).unwrap().unwrap().scopes.is_empty());
    other.execute("DELETE FROM api_tokens WHERE id = ?1", [lasting]).unwrap();
    assert!(holds("abcd-2", 0).is_none() && holds("abcd-1", 0).is_some());
}
