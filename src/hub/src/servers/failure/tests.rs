use hubd_proto::message::RefusalCode;

use super::*;

/// Codes of failures that are no refusals of the helper's. Pages, the API and the journal show them.
const CODES: [&str; 10] = [
    "database",
    "died",
    "exited-early",
    "helper-unreachable",
    HOME_FULL,
    "http-timeout",
    "options-refused",
    OUT_OF_MEMORY,
    "start-timeout",
    "wrong-peer",
];

const ALL: [RefusalCode; 20] = [
    RefusalCode::LoginRefused,
    RefusalCode::AccountClosed,
    RefusalCode::AccountBarred,
    RefusalCode::AccountUnknown,
    RefusalCode::TicketMissing,
    RefusalCode::TicketInvalid,
    RefusalCode::RateLimited,
    RefusalCode::TooManySessions,
    RefusalCode::AlreadyRunning,
    RefusalCode::ProfileUnknown,
    RefusalCode::ProgramMissing,
    RefusalCode::ArgumentRefused,
    RefusalCode::EnvironmentRefused,
    RefusalCode::HomeUnusable,
    RefusalCode::SessionRefused,
    RefusalCode::BecomeUserFailed,
    RefusalCode::ExecFailed,
    RefusalCode::NotAvailable,
    RefusalCode::Protocol,
    RefusalCode::System,
];

fn exited(code: Option<i32>, signal: Option<i32>) -> Exited {
    Exited { code, signal, stopped: false, out_of_memory: None, log: vec!["Traceback".into()] }
}

#[test]
fn every_refusal_keeps_its_code_and_message_and_says_what_to_do() {
    for code in ALL {
        let refused = Refused {
            code,
            message: "The reason.".into(),
            notices: vec!["pam_x: said".into()],
            retry_after_seconds: Some(5),
        };
        let failure = Failure::from_helper(HelperError::Refused(Box::new(refused)));
        assert_eq!(failure.code, code.as_str());
        assert_eq!(failure.message, "The reason. pam_x: said");
        assert!([403, 429, 500, 503].contains(&failure.status), "{code:?}");
        assert!(!failure.step.is_empty() && failure.advice.len() > 20, "{code:?}");
        assert_eq!(failure.retry_after_seconds, Some(5));
    }
}

#[test]
fn a_missing_program_is_told_with_how_to_install_it() {
    let (status, _, _, advice) = refusals::of_refusal(RefusalCode::ProgramMissing);
    assert_eq!(status, 500);
    assert!(advice.contains("pip install jupyterhub"));
    let (status, _, _, advice) = refusals::of_refusal(RefusalCode::TicketMissing);
    assert_eq!(status, 403);
    assert!(advice.starts_with("Log in again"));
}

#[test]
fn the_end_of_a_process_is_told_in_words() {
    let told = |code, signal| Failure::exited_early(&exited(code, signal)).message;
    assert_eq!(told(Some(1), None), "The server exited with status 1 before it was ready.");
    let words = "The server was ended by signal 11 (segmentation fault) before it was ready.";
    assert_eq!(told(None, Some(11)), words);
    assert_eq!(told(None, Some(64)), "The server was ended by signal 64 before it was ready.");
    assert_eq!(Failure::exited_early(&exited(Some(1), None)).log, ["Traceback"]);
    assert!(Failure::died(&exited(None, Some(ended::SIGKILL))).advice.contains("memory"));
}

#[test]
fn a_server_that_used_all_of_its_memory_is_told_so() {
    let mut exited = exited(None, Some(ended::SIGKILL));
    exited.out_of_memory = Some(2 << 30);
    let failure = Failure::died(&exited);
    assert_eq!(failure.code, OUT_OF_MEMORY);
    assert!(failure.message.contains("stopped because it used all of its 2 GB"), "{}", failure.message);
    let german = Language::find("de").unwrap();
    assert!(failure.message_in(german).contains("2 GB"), "{}", failure.message_in(german));
    assert!(!failure.message_in(german).contains("stopped"), "{}", failure.message_in(german));
}

#[test]
fn a_full_home_is_told_from_what_the_server_printed() {
    for line in ["OSError: [Errno 28] No space left on device: 'x'", "[Errno 122] Disk quota exceeded"] {
        let mut exited = exited(Some(1), None);
        exited.log.push(line.to_owned());
        let failure = Failure::exited_early(&exited);
        assert_eq!(failure.code, HOME_FULL);
        assert!(failure.advice.starts_with("Delete files"), "{}", failure.advice);
        assert_eq!(failure.log.last().map(String::as_str), Some(line));
    }
}

#[test]
fn a_refusal_is_told_in_other_languages_and_in_the_helpers_words() {
    let refused = Refused {
        code: RefusalCode::ProgramMissing,
        message: "No /opt/x.".into(),
        notices: Vec::new(),
        retry_after_seconds: None,
    };
    let failure = Failure::from_helper(HelperError::Refused(Box::new(refused)));
    let (english, french) = (Language::english(), Language::find("fr").unwrap());
    assert_eq!((failure.message_in(english).as_str(), failure.detail_for(english)), ("No /opt/x.", None));
    assert_eq!(failure.detail_for(french), Some("No /opt/x."));
    assert_ne!(failure.message_in(french), failure.words.message);
    assert_ne!(failure.advice_in(french), failure.advice);
}

#[test]
fn every_failure_has_a_code_of_the_list() {
    let all = [
        Failure::start_timeout(Duration::from_secs(1)),
        Failure::http_timeout("/", Duration::from_secs(1)),
        Failure::wrong_peer("/"),
        Failure::exited_early(&exited(Some(1), None)),
        Failure::died(&exited(Some(1), None)),
        Failure::lost(&HelperError::Timeout(Duration::from_secs(1))),
        Failure::options("x"),
        Failure::database("x"),
        Failure::from_helper(HelperError::Frame(hubd_proto::FrameError::Io(std::io::Error::other("x")))),
    ];
    for failure in all {
        assert!(CODES.contains(&failure.code.as_str()), "{}", failure.code);
        assert!(!failure.message.contains('{') && !failure.step.is_empty(), "{}", failure.message);
    }
}
