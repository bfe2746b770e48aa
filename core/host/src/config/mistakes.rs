//! The mistakes that people make most, over all sections of the file. Every complaint has a line, one style, and something
//! to write instead.

use super::file::parse;

/// A file and the complaint about it, which begins with the line.
const MISTAKES: &[(&str, &str)] = &[
    // The file as a whole.
    ("lisen = ['127.0.0.1:80']", "1: `lisen` is not a key of the file; did you mean `listen`?"),
    ("threads = 0", "1: `threads` must be from 1 to 1024"),
    ("log = 'yes'", "1: `log` must be true or false, not \"yes\""),
    ("trusted = ['10.0.0.1/8']", TRUSTED),
    ("server = 5", "1: `server` must be a text such as \"brolly\", or false, not 5"),
    // Where clients connect.
    (
        "listen = ['127.0.0.1']",
        "1: `listen` is wrong: `127.0.0.1` is not an address to listen on; write `127.0.0.1:8080`",
    ),
    ("[[listeners]]\ntls = 'main'", "1: `address` is missing; write address = \"127.0.0.1:8080\""),
    (
        "[[listeners]]\naddress = '127.0.0.1:443'\ntls = 'main'",
        "3: `tls` names \"main\", but there is no [tls.main]; add it with certificates = [{ chain = \"cert.pem\", key = \
         \"cert.key\" }]",
    ),
    (
        "[[listeners]]\naddress = '127.0.0.1:80'\nproxy_protocol = true",
        "1: `proxy_protocol` needs to know whose word counts; write trusted = [\"10.0.0.0/8\"] at the top of the file",
    ),
    ("[tls.main]", "1: `certificates` is missing; write certificates = [{ chain = \"cert.pem\", key = \"cert.key\" }]"),
    // Limits.
    (
        "[limits]\nidle_timeout = 75",
        "2: `idle_timeout` must be a duration such as \"500ms\", \"30s\" or \"1m30s\", not \"75\"",
    ),
    (
        "[limits]\ncontent_bytes = '5MB'",
        "2: `content_bytes` must be a size such as \"512B\", \"64KiB\" or \"1MiB\", not \"5MB\"",
    ),
    ("[limits]\nconections = 5", "2: `conections` is not a key of [limits]; did you mean `connections`?"),
    // Compression.
    ("[[routes]]\nhandler = 'echo'\ncompression = 1", "3: `compression` must be true, false or a table, not 1"),
    ("[[routes]]\nhandler = 'echo'\ncompression = { level = 0 }", "3: `level` must be from 1 to 9"),
    (
        "[[routes]]\nhandler = 'echo'\ncompression = { windw_bits = 9 }",
        "3: `windw_bits` is not a key of `compression`; did you mean `window_bits`?",
    ),
    // Session pools.
    (
        "[session_pools.chat]\ninactivity = ['app']",
        "2: `inactivity` names \"app\", but there is no [upstreams.app]; add it with url = \"http://localhost:8111\"",
    ),
    ("[session_pools.chat]\nactive_at_least = '3h'", "2: `active_at_least` must not be longer than active_at_most, 2h"),
    (
        "[session_pools.chat]\nkeys = ['short']",
        "2: `keys` must be 16 or more characters each, without spaces, such as `openssl rand -hex 16` makes",
    ),
    ("[session_pools.chat]\ndialect = 'swindn'", "2: `dialect` is not \"swindn\"; did you mean `swindon`?"),
    ("[[routes]]\nhandler = 'sessions'", "1: `pool` is missing; write pool = \"NAME\""),
    (
        "[[routes]]\nhandler = 'sessions'\npool = 'chat'",
        "3: `pool` names \"chat\", but there is no [session_pools.chat]; add it",
    ),
    (
        "[upstreams.app]\nurl = 'http://a'\n[session_pools.chat]\n[[routes]]\nhandler = 'sessions'\npool = 'chat'\ncalls = { 'chat.*' = 'app' }",
        "7: `calls` must say where all other calls go; add \"*\" = \"app\"",
    ),
    // Routes.
    ("routes = {}", "1: `routes` must be written [[routes]]"),
    ("[[routes]]\nroot = 'src'", "1: `handler` is missing; write handler = \"files\""),
    ("[[routes]]\nhandler = 'redirct'", "2: `handler` is not \"redirct\"; did you mean `redirect`?"),
    (
        "[[routes]]\nhandler = 'echo'\nprefix = 'api'",
        "3: `prefix` is wrong: the prefix `api` must begin with a slash; write `/api`",
    ),
    (
        "[[routes]]\nhandler = 'echo'\nhost = 'example.org:80'",
        "3: `host` must be a name such as \"example.org\" or \"*.example.org\", without port, not \"example.org:80\"",
    ),
    (
        "[[routes]]\nhandler = 'echo'\n[[routes]]\nhandler = 'websocket'",
        "3: there is a route for / on the same host in line 1 already; remove one",
    ),
    (
        "[[routes]]\nhandler = 'websocket'\nsubprotocols = ['v1 chat']",
        "3: `subprotocols` must be names such as \"v1.chat\", without spaces, not \"v1 chat\"",
    ),
    (
        "[upstreams.app]\nurl = 'http://a'\n[[routes]]\nhandler = 'proxy'\nupstream = 'app'\nwebsocket = 'frames'",
        "6: `websocket` must be \"tunnel\" or \"messages\", not \"frames\"",
    ),
    (
        "[upstreams.app]\nurl = 'http://a'\n[[routes]]\nhandler = 'proxy'\nupstream = 'app'\ncompression = true",
        "6: `compression` is for WebSockets that are read; write websocket = \"messages\"",
    ),
    (
        "[[routes]]\nhandler = 'proxy'\nupstream = 'app'",
        "3: `upstream` names \"app\", but there is no [upstreams.app]; add it with url = \"http://localhost:8111\"",
    ),
    ("[[routes]]\nhandler = 'files'", "1: `root` is missing; write root = \"./public\""),
    (
        "[[routes]]\nhandler = 'files'\nroot = '/no/such'",
        "3: `root` is wrong: /no/such: there is no such file or directory",
    ),
    (
        "[[routes]]\nhandler = 'files'\nroot = 'src'\nsymlinks = 'insde'",
        "4: `symlinks` is not \"insde\"; did you mean `inside`?",
    ),
    (
        "[[routes]]\nhandler = 'files'\nroot = 'src'\nprecompressed = ['brotli']",
        "4: `precompressed` is not \"brotli\"; did you mean `br`?",
    ),
    (
        "[[routes]]\nhandler = 'files'\nroot = 'src'\ncompress = { types = ['html'] }",
        "4: `types` must be a list of media types such as [\"text/*\", \"application/json\"], not \"html\"",
    ),
    ("[[routes]]\nhandler = 'file'\npath = 'src'", FILE),
    ("[[routes]]\nhandler = 'status'\nstatus = 99", "3: `status` must be a status from 200 to 599"),
    (
        "[[routes]]\nhandler = 'redirect'\nlocation = 'https://example.org/?a'\nkeep_path = true",
        "3: `location` must not have a `?` or `#`: the path is appended",
    ),
    // Backends.
    ("[upstreams.app]\nserver = []", "2: `server` is not a key of an upstream; did you mean `servers`?"),
    ("[upstreams.app]\nservers = []", "2: `servers` must not be empty; write servers = [\"http://localhost:8111\"]"),
    ("[upstreams.app]\nservers = ['http://a', 'http://a']", "2: `servers` names this server twice; remove one"),
    (
        "[upstreams.app]\nservers = ['http://a/x']",
        "2: `servers` must end before the path; write replace = \"/x\" in the route",
    ),
    (
        "[upstreams.app]\nservers = ['http://a']\nbalance = 'random'",
        "3: `balance` is not \"random\"; there is `least-outstanding`, `round-robin`, `hash:client`, `hash:path`, \
         `hash:cookie:NAME` and `hash:field:NAME`",
    ),
    (
        "[upstreams.app]\nservers = ['http://a']\nconnect_timeout = 5",
        "3: `connect_timeout` must be a duration such as \"500ms\", \"30s\" or \"1m30s\", not \"5\"",
    ),
    (
        "[upstreams.app]\nservers = ['http://a']\nhealth = { path = 'health' }",
        "3: `path` must be a path such as \"/health\", not \"health\"",
    ),
    // What messages look like.
    ("[[routes]]\nhandler = 'echo'\nwww = 'yes'", "3: `www` is not \"yes\"; there is `add` and `remove`"),
    (
        "[[routes]]\nhandler = 'echo'\nresponse_fields = { set = { X-A = '{clint}' } }",
        "3: `X-A` has a variable `{clint}`, which there is not; did you mean `client`?",
    ),
    (
        "[[routes]]\nhandler = 'echo'\nresponse_fields = { remove = ['Content-Length'] }",
        "3: `remove` names \"Content-Length\", but this cannot be edited: it belongs to the connection; remove it here",
    ),
    (
        "[[routes]]\nhandler = 'echo'\ncors = { origins = ['*'], credentials = true }",
        "3: `origins` must not be \"*\" with credentials: every site could act for the user; list them",
    ),
    (
        "[[routes]]\nhandler = 'echo'\ncors = { origins = ['https://example.org/'] }",
        "3: `origins` has \"https://example.org/\", which browsers never send; write \"https://app.example.org\", \
         \"https://*.example.org\" or \"http://localhost:3000\"",
    ),
    (
        "[[routes]]\nhandler = 'echo'\nerrors = { 302 = '404.html' }",
        "3: `302` is no error; write a status from 400 to 599, `4xx` or `5xx`",
    ),
    (
        "[[routes]]\nhandler = 'echo'\notherwise = { handler = 'websocket' }",
        "3: `handler` is for WebSockets, `otherwise` for all other requests; write \"files\", say",
    ),
    ("[[routes]]\nhandler = 'echo'\nintercept = true", "3: `intercept` is for `proxy` routes; remove it"),
    // Who may.
    (
        "[[routes]]\nhandler = 'echo'\naccess = {}",
        "3: `access` has neither `allow` nor `deny`; write allow = [\"10.0.0.0/8\"]",
    ),
    (
        "[[routes]]\nhandler = 'echo'\nlimits = { requests = 100 }",
        "3: `requests` must be a rate such as \"100/s\" or \"100/m\", not 100",
    ),
    ("[[routes]]\nhandler = 'echo'\nlimits = { burst = 5 }", "3: `burst` needs `requests`; write requests = \"100/s\""),
    (
        "[[routes]]\nhandler = 'echo'\nbasic_auth = { file = '/no/users' }",
        "3: `file` is wrong: /no/users: there is no such file or directory",
    ),
    (
        "[[routes]]\nhandler = 'echo'\nauthorize = { upstream = 'auth' }",
        "3: `upstream` names \"auth\", but there is no [upstreams.auth]; add it with url = \"http://localhost:8111\"",
    ),
];

const FILE: &str = concat!(
    "3: `path` is wrong: ",
    env!("CARGO_MANIFEST_DIR"),
    "/src is not a file; handler = \"files\" serves a directory"
);
const TRUSTED: &str = "1: `trusted` is wrong: `10.0.0.1/8` has bits behind its prefix; write `10.0.0.0/8`, or `10.0.0.1` for this \
                       address alone";

/// What every complaint does in some way: say what to write, what there is, or what is in the way.
const ADVICE: [&str; 10] =
    ["handler = ", "write ", "did you mean", "must ", "there is ", "remove ", "add ", "name ", "list them", "make it"];

#[test]
fn thirty_typical_mistakes_are_explained() {
    assert!(MISTAKES.len() >= 30, "{}", MISTAKES.len());
    for (text, complaint) in MISTAKES {
        let failure = parse(text).map(|_| text.to_string()).unwrap_err().to_string();
        assert_eq!(failure, format!("brolly.toml:{complaint}"), "{text}");
        assert!(!failure.ends_with('.') && !failure.contains('\n'), "{failure}");
        assert!(ADVICE.iter().any(|advice| failure.contains(advice)), "no advice: {failure}");
    }
}
