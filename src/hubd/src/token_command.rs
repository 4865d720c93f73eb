//! `hubd token NAME`: a new API token for a user or service, while the hub runs or not.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use hubd_store::{GENERATED_ROUNDS, NewToken, Store, TokenOwner, hash_token, token_prefix};
use nix::unistd::{Uid, User};
use zeroize::Zeroizing;

use crate::config::plan::Plan;

/// Note of such a token, as JupyterHub's.
const NOTE: &str = "command-line generated";

/// Makes the token and prints it. Without a name it is for whoever runs the command.
pub fn print(plan: &Plan, name: Option<&str>) -> anyhow::Result<()> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => User::from_uid(Uid::current())?.context("you have no account; name a user")?.name,
    };
    let store = open(plan)?;
    let owner = owner(&store, &name)?;
    let now = SystemTime::now();
    let token = Zeroizing::new(hex(&random::<16>()?));
    let longest = plan.settings.token_expires_in_max_seconds;
    store.create_token(&NewToken {
        owner,
        hashed: hash_token(&token, GENERATED_ROUNDS, random()?),
        prefix: token_prefix(&token),
        client_id: "jupyterhub".to_owned(),
        session_id: None,
        note: NOTE.to_owned(),
        scopes: store.role_scopes("token")?.unwrap_or_default(),
        created: now,
        expires_at: (longest > 0).then(|| now + Duration::from_secs(longest.into())),
    })?;
    println!("{}", *token);
    Ok(())
}

/// Opens the database as its owner only: files that somebody else makes beside it would lock the daemon out.
fn open(plan: &Plan) -> anyhow::Result<Store> {
    let path = &plan.database;
    let shown = path.display();
    let found = std::fs::metadata(path).with_context(|| {
        format!("database {shown} (looked for from here; the first start of hubd makes it)")
    })?;
    if found.uid() != Uid::effective().as_raw() {
        let owner = User::from_uid(found.uid().into())?.map_or(found.uid().to_string(), |user| user.name);
        bail!("the database {shown} belongs to {owner}\n    cure: sudo -u {owner} hubd token NAME");
    }
    Store::open(path).with_context(|| format!("database {shown}"))
}

fn owner(store: &Store, name: &str) -> anyhow::Result<TokenOwner> {
    if let Some(user) = store.user(&name.to_lowercase())? {
        return Ok(TokenOwner::User(user.id));
    }
    match store.service(name)? {
        Some(service) => Ok(TokenOwner::Service(service.id)),
        None => bail!("No such user: {name}"),
    }
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
