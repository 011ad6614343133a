//! Faulty files with one fault each, and the exact line for it.

use super::faults;

#[test]
fn reports_place_problem_and_remedy_of_each_fault() {
    for (text, expected) in FAULTY {
        assert_eq!(faults(text), [*expected], "of {text:?}");
    }
}

#[test]
fn limits_the_length_of_a_socket_path_after_it_is_joined() {
    // The path is joined to "etc/".
    let fits = "s".repeat(103);
    assert_eq!(
        super::valid(&format!("[[listener]]\nsocket = '{fits}'\n")).listeners[0].socket.as_os_str().len(),
        107
    );
    let line = &faults(&format!("[[listener]]\nsocket = '{fits}s'\n"))[0];
    assert!(line.starts_with("2:10: listener.socket is 108 bytes long (\"etc/sss"), "{line}");
    assert!(
        line.ends_with("; write a path that has at most 107 bytes from the root or the working directory"),
        "{line}"
    );
    let deep = format!("/{}/c.toml", "d".repeat(100));
    let of_default =
        super::Config::parse("", std::path::Path::new(&deep)).expect_err("the default is too long there");
    assert!(of_default.to_string().contains(":1:1: the default socket is 120 bytes long"), "{of_default}");
}

#[test]
fn limits_the_length_of_names() {
    let route = |method: &str| format!("[[route]]\nmethod = '{method}'\nplugin = 'p'\n");
    assert!(super::parse(&route(&"m".repeat(256))).is_ok());
    assert!(super::parse(&route(&format!("{}.*", "m".repeat(254)))).is_ok());
    let long = faults(&route(&format!("{}.*", "m".repeat(255))));
    let shown = "m".repeat(64);
    assert!(
        long[0].starts_with(&format!("2:10: route.method \"{shown}\"... is longer than 256 bytes;")),
        "{long:?}"
    );
    assert!(super::parse(&format!("[plugin.{}]", "p".repeat(64))).is_ok());
    assert!(faults(&format!("[plugin.{}]", "p".repeat(65)))[0].starts_with("1:9: \"ppp"));
}

#[rustfmt::skip] // one input a line, with its fault
const FAULTY: &[(&str, &str)] = &[
    ("x = 1", "1:1: unknown key \"x\"; the known keys are admin, io, limits, listener, log, metrics, plugin, plugins, route, timeouts"),
    ("limit = 1", "1:1: unknown key \"limit\"; did you mean \"limits\"? the known keys are admin, io, limits, listener, log, metrics, plugin, plugins, route, timeouts"),
    ("[limit]", "1:2: unknown table \"limit\"; did you mean \"limits\"? the known keys are admin, io, limits, listener, log, metrics, plugin, plugins, route, timeouts"),
    ("[admin]\nsocket = 'run/jackfield.sock'", "2:10: admin.socket is also the socket of a listener; write another path"),
    ("[[listener]]\nallow = { users = ['no such user'] }", "2:20: listener.allow.users: the user \"no such user\" does not exist; write the name of an existing user, or a number without quotes"),
    ("[[listener]]\nallow = { groups = [0, 'no-such-group'] }", "2:24: listener.allow.groups: the group \"no-such-group\" does not exist; write the name of an existing group, or a number without quotes"),
    ("[[listener]]\nallow = { users = [0, -1] }", "2:23: listener.allow.users contains an integer; write names in quotes, or numbers from 0 to 4294967295: [\"www-data\", 1000]"),
    ("[[listener]]\nallow = { users = 'root' }", "2:19: listener.allow.users is a string; write names in quotes, or numbers from 0 to 4294967295: [\"www-data\", 1000]"),
    ("[[listener]]\nallow = {}", "2:9: listener.allow permits nobody; write users or groups, or remove the key"),
    ("[[listener]]\nallow = ['root']", "2:9: listener.allow is an array; write a table, [listener.allow]"),
    ("[admin]\nallow = { users = ['no such user'] }", "2:20: admin.allow.users: the user \"no such user\" does not exist; write the name of an existing user, or a number without quotes"),
    ("[admin]\nallow = {}", "2:9: admin.allow permits nobody; write users or groups, or remove the key"),
    ("[[route]]\nmethod = 'm'\nplugin = 'p'\nallow = { users = [], groups = [] }", "4:9: route.allow permits nobody; write users or groups, or remove the key"),
    ("[[route]]\nmethod = 'm'\nplugin = 'p'\nallow = { user = ['root'], groups = [0] }", "4:11: unknown key \"user\" in [route.allow]; did you mean \"users\"? the known keys are groups, users"),
    ("[admin]\nsocket = 'run/'", "2:10: admin.socket is a directory (\"etc/run/\"); write the path of a file, such as \"run/jackfield.sock\""),
    ("[metrics]\nlisten = '0.0.0.0:9464'", "2:10: metrics.listen \"0.0.0.0:9464\" can be reached from other machines; write a loopback address with a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\", or the path of a socket, such as \"run/metrics.sock\""),
    ("[metrics]\nlisten = '192.0.2.1:1'", "2:10: metrics.listen \"192.0.2.1:1\" can be reached from other machines; write a loopback address with a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\", or the path of a socket, such as \"run/metrics.sock\""),
    ("[metrics]\nlisten = 'localhost:9464'", "2:10: metrics.listen \"localhost:9464\" is not an address; write a loopback address with a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\", or the path of a socket, such as \"run/metrics.sock\""),
    ("[metrics]\nlisten = 9464", "2:10: metrics.listen is an integer; write a loopback address with a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\", or the path of a socket, such as \"run/metrics.sock\""),
    ("[metrics]\nlisten = 'http://127.0.0.1:1/'", "2:10: metrics.listen \"http://127.0.0.1:1/\" is not an address; write a loopback address with a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\", or the path of a socket, such as \"run/metrics.sock\""),
    ("[metrics]\nlisten = 'run/jackfield.sock'", "2:10: metrics.listen is also the socket of a listener or the admin socket; write another path"),
    ("[metrics]\nlisten = './run/jackfield-admin.sock'", "2:10: metrics.listen is also the socket of a listener or the admin socket; write another path"),
    ("[metrics]\nlisten = 'run/'", "2:10: metrics.listen is a directory (\"etc/run/\"); write the path of a file, such as \"run/jackfield.sock\""),
    ("[metric]", "1:2: unknown table \"metric\"; did you mean \"metrics\"? the known keys are admin, io, limits, listener, log, metrics, plugin, plugins, route, timeouts"),
    ("[plugins]\nretain = 64", "2:1: unknown key \"retain\" in [plugins]; did you mean \"retained\"? the known keys are auto_route, crash, directory, probation, probe, retained, state, state_transfer, trusted_keys, watch"),
    ("[plugins]\nretained = 1000", "2:12: plugins.retained = 1000 is out of range; write an integer from 1 to 512, without quotes"),
    ("[plugins.probation]\nfailures = 0", "2:12: plugins.probation.failures = 0 is out of range; write an integer from 1 to 1000000, without quotes"),
    ("[plugins]\ntrusted_keys = []", "2:16: plugins.trusted_keys is empty, so no plugin could be loaded; write paths of public keys of minisign in quotes: [\"/etc/jackfield/plugins.pub\"], or remove plugins.trusted_keys"),
    ("[plugins]\ntrusted_keys = ['nowhere.pub']", "2:17: the trusted key \"etc/nowhere.pub\" cannot be read: No such file or directory (os error 2); write the path of a public key that `minisign -G` created"),
    ("[plugins]\ntrusted_keys = 'plugins.pub'", "2:16: plugins.trusted_keys is a string; write paths of public keys of minisign in quotes: [\"/etc/jackfield/plugins.pub\"]"),
    ("[[listener]]\nhue = { users = [] }", "2:1: unknown table \"hue\" in [[listener]]; the known keys are allow, close_after_reply, complete_after, framing, group, method, mode, remote, run_unterminated, socket"),
    ("[[route]]\nmethod = 'a'\nplugin = 'b'\nhue = {}", "4:1: unknown table \"hue\" in [[route]]; the known keys are allow, enabled, max_in_flight, method, plugin, timeout"),
    ("[limits]\nFrame = '1MiB'", "2:1: unknown key \"Frame\" in [limits]; did you mean \"frame\"? the known keys are buffers, connections, frame, in_flight, in_flight_per_connection"),
    ("[limits]\nin_fligth = 1", "2:1: unknown key \"in_fligth\" in [limits]; did you mean \"in_flight\"? the known keys are buffers, connections, frame, in_flight, in_flight_per_connection"),
    ("[limits]\n\"a\\nb\" = 1", "2:1: unknown key \"a\\nb\" in [limits]; the known keys are buffers, connections, frame, in_flight, in_flight_per_connection"),
    ("[listener]\nsocket = 'x'", "1:1: listener is a table; write [[listener]], once for each listener"),
    ("listener = []", "1:12: listener is an empty array; write [[listener]], once for each listener, or remove the key"),
    ("listener = ['x']", "1:13: listener is a string; write [[listener]], once for each listener"),
    ("limits = 3", "1:10: limits is an integer; write a table, [limits]"),
    ("plugin = 'device'", "1:10: plugin is a string; write a table, [plugin]"),
    ("[plugin]\ndevice = 2", "2:10: plugin.device is an integer; write a table, [plugin.NAME]"),
    ("[[listener]]\nsocket = ''", "2:10: listener.socket is empty; write a path, such as \"run/jackfield.sock\""),
    ("[[listener]]\nsocket = 7", "2:10: listener.socket is an integer; write a string, in quotes"),
    ("[[listener]]\nsocket = \"a\\u0000b\"", "2:10: listener.socket contains a NUL byte; write a path, such as \"run/jackfield.sock\""),
    ("[[listener]]\nsocket = '/run/jackfield/'", "2:10: listener.socket is a directory (\"/run/jackfield/\"); write the path of a file, such as \"run/jackfield.sock\""),
    ("[[listener]]\nsocket = '..'", "2:10: listener.socket is a directory (\"etc/..\"); write the path of a file, such as \"run/jackfield.sock\""),
    ("[[listener]]\nsocket = '/'", "2:10: listener.socket is a directory (\"/\"); write the path of a file, such as \"run/jackfield.sock\""),
    ("[[listener]]\nsocket = 'a/b'\n[[listener]]\nsocket = 'a/.//b'", "4:10: the listener in line 1 has the same socket; write another path"),
    ("[[listener]]\n[[listener]]", "2:1: the listener in line 1 has the same socket; write another path"),
    ("[[listener]]\nmode = '01000'", "2:8: listener.mode \"01000\" is more than \"0777\"; write an octal number up to \"0777\", such as \"0660\""),
    ("[[listener]]\nmode = '77777777777777777777'", "2:8: listener.mode \"77777777777777777777\" is more than \"0777\"; write an octal number up to \"0777\", such as \"0660\""),
    ("[[listener]]\nmode = '0680'", "2:8: listener.mode \"0680\" is not an octal number; write an octal number up to \"0777\", such as \"0660\""),
    ("[[listener]]\nmode = ''", "2:8: listener.mode \"\" is not an octal number; write an octal number up to \"0777\", such as \"0660\""),
    ("[[listener]]\nmode = '+660'", "2:8: listener.mode \"+660\" is not an octal number; write an octal number up to \"0777\", such as \"0660\""),
    ("[[listener]]\nmode = '0444'", "2:8: listener.mode \"0444\" gives nobody write permission, which clients need to connect; write an octal number up to \"0777\", such as \"0660\""),
    ("[[listener]]\nmode = 660", "2:8: listener.mode is an integer; write \"0660\""),
    ("[[listener]]\nmode = 0o640", "2:8: listener.mode is an integer; write \"0640\""),
    ("[[listener]]\nmode = 999", "2:8: listener.mode is an integer; write an octal number in quotes, such as \"0660\""),
    ("[[listener]]\nmode = true", "2:8: listener.mode is a boolean; write an octal number in quotes, such as \"0660\""),
    ("[[listener]]\ngroup = ''", "2:9: listener.group is empty; write the name of a group, or remove the key"),
    ("[[listener]]\ngroup = 33", "2:9: listener.group is an integer; write a string, in quotes"),
    ("[[listener]]\nframing = 'lines'", "2:11: listener.framing \"lines\" is not valid; did you mean \"line\"? write one of \"binary\", \"line\""),
    ("[[listener]]\nframing = 'Binary'", "2:11: listener.framing \"Binary\" is not valid; did you mean \"binary\"? write one of \"binary\", \"line\""),
    ("[[listener]]\nframing = 2", "2:11: listener.framing is an integer; write one of \"binary\", \"line\""),
    ("[[listener]]\nrun_unterminated = true", "2:20: listener.run_unterminated applies to line framing, and this listener has binary framing; write framing = \"line\", or remove run_unterminated"),
    ("[[listener]]\nframing = 'binary'\ncomplete_after = '50ms'", "3:18: listener.complete_after applies to line framing, and this listener has binary framing; write framing = \"line\", or remove complete_after"),
    ("[[listener]]\nmethod = 'a.b'", "2:10: listener.method applies to line framing, and this listener has binary framing; write framing = \"line\", or remove method"),
    ("[[listener]]\nframing = 'line'\ncomplete_after = '5s'", "3:18: listener.complete_after \"5s\" is not less than timeouts.frame \"5s\", which ends the connection first; write less than \"5s\", such as \"50ms\", or raise timeouts.frame"),
    ("[[listener]]\nframing = 'line'\ncomplete_after = '0ms'", "3:18: listener.complete_after \"0ms\" is out of range; write a duration from \"1ms\" to \"24h\""),
    ("[[listener]]\nframing = 'line'\ncomplete_after = 50", "3:18: listener.complete_after is an integer; write a duration with its unit, in quotes, such as \"50s\""),
    ("[[listener]]\nframing = 'line'\nmethod = 'a.*'", "3:10: listener.method \"a.*\" matches several methods; write the full name of one method, such as \"device.status.update\""),
    ("[[listener]]\nframing = 'line'\nmethod = 'system.*'", "3:10: listener.method \"system.*\" matches several methods; write the full name of one method, such as \"device.status.update\""),
    ("[[listener]]\nframing = 'line'\nmethod = ''", "3:10: listener.method \"\" is empty; write the full name of one method, such as \"device.status.update\""),
    ("[[listener]]\nframing = 'line'\nmethod = 'a b'", "3:10: listener.method \"a b\" contains ' ', which method names must not contain; write the full name of one method, such as \"device.status.update\""),
    ("[[listener]]\nremote = 1", "2:10: listener.remote is an integer; write true or false, without quotes"),
    ("[[listener]]\nclose_after_reply = 'yes'", "2:21: listener.close_after_reply is a string; write true or false, without quotes"),
    ("[limits]\nframe = '1023B'", "2:9: limits.frame \"1023B\" is out of range; write a size from \"1KiB\" to \"4294967295B\""),
    ("[limits]\nframe = '4GiB'", "2:9: limits.frame \"4GiB\" is out of range; write a size from \"1KiB\" to \"4294967295B\""),
    ("[limits]\nframe = 16777216", "2:9: limits.frame is an integer; write a size with its unit, in quotes, such as \"16MiB\""),
    ("[limits]\nframe = '16777216'", "2:9: limits.frame \"16777216\" is not a size; write \"16777216B\""),
    ("[limits]\nframe = '16MB'", "2:9: limits.frame \"16MB\" is not a size; write \"16MiB\""),
    ("[limits]\nframe = '16 mib'", "2:9: limits.frame \"16 mib\" is not a size; write \"16MiB\""),
    ("[limits]\nframe = 'MiB'", "2:9: limits.frame \"MiB\" is not a size; write an integer and one of the units B, KiB, MiB and GiB, such as \"16MiB\""),
    ("[limits]\nframe = '-1KiB'", "2:9: limits.frame \"-1KiB\" is not a size; write an integer and one of the units B, KiB, MiB and GiB, such as \"16MiB\""),
    ("[limits]\nframe = '1.5MiB'", "2:9: limits.frame \"1.5MiB\" is not a size; write an integer and one of the units B, KiB, MiB and GiB, such as \"16MiB\""),
    ("[limits]\nframe = '99999999999999999999999GiB'", "2:9: limits.frame \"99999999999999999999999GiB\" is out of range; write a size from \"1KiB\" to \"4294967295B\""),
    ("[limits]\nframe = '18446744073709551615GiB'", "2:9: limits.frame \"18446744073709551615GiB\" is out of range; write a size from \"1KiB\" to \"4294967295B\""),
    ("[limits]\nframe = 1.5", "2:9: limits.frame is a floating-point number; write a size with its unit, in quotes, such as \"16MiB\""),
    ("[limits]\nframe = '512MiB'", "2:9: limits.frame \"512MiB\" is more than limits.buffers \"256MiB\", so such a frame would never fit; write at most \"256MiB\", or raise buffers to \"512MiB\" or more"),
    ("[limits]\nbuffers = '1B'", "2:11: limits.buffers \"1B\" is out of range; write a size from \"64KiB\" to \"1024GiB\""),
    ("[limits]\nconnections = 0", "2:15: limits.connections = 0 is out of range; write an integer from 1 to 1000000, without quotes"),
    ("[limits]\nconnections = -5", "2:15: limits.connections = -5 is out of range; write an integer from 1 to 1000000, without quotes"),
    ("[limits]\nconnections = 1000001", "2:15: limits.connections = 1000001 is out of range; write an integer from 1 to 1000000, without quotes"),
    ("[limits]\nconnections = 99999999999999999999999999", "2:15: limits.connections = 99999999999999999999999999 is out of range; write an integer from 1 to 1000000, without quotes"),
    ("[limits]\nconnections = '4096'", "2:15: limits.connections is a string; write an integer from 1 to 1000000, without quotes"),
    ("[limits]\nin_flight = 10\nin_flight_per_connection = 11", "3:28: limits.in_flight_per_connection = 11 is more than limits.in_flight = 10; write at most 10, or raise in_flight"),
    ("[timeouts]\nrequest = 30", "2:11: timeouts.request is an integer; write a duration with its unit, in quotes, such as \"30s\""),
    ("[timeouts]\nrequest = '0ms'", "2:11: timeouts.request \"0ms\" is out of range; write a duration from \"1ms\" to \"24h\""),
    ("[timeouts]\nrequest = '25h'", "2:11: timeouts.request \"25h\" is out of range; write a duration from \"1ms\" to \"24h\""),
    ("[timeouts]\nrequest = '18446744073709551615h'", "2:11: timeouts.request \"18446744073709551615h\" is out of range; write a duration from \"1ms\" to \"24h\""),
    ("[timeouts]\nrequest = '30sec'", "2:11: timeouts.request \"30sec\" is not a duration; write \"30s\""),
    ("[timeouts]\nrequest = '250ns'", "2:11: timeouts.request \"250ns\" is not a duration; write an integer and one of the units us, ms, s, m and h, such as \"30s\""),
    ("[timeouts]\nrequest = ''", "2:11: timeouts.request \"\" is not a duration; write an integer and one of the units us, ms, s, m and h, such as \"30s\""),
    ("[timeouts]\nrequest = '٣s'", "2:11: timeouts.request \"٣s\" is not a duration; write an integer and one of the units us, ms, s, m and h, such as \"30s\""),
    ("[timeouts]\nrequest = 12:00:00", "2:11: timeouts.request is a date or time; write a duration with its unit, in quotes, such as \"30s\""),
    ("[timeouts]\nrequest = {}", "2:11: timeouts.request is a table; write a duration with its unit, in quotes, such as \"30s\""),
    ("[timeouts]\nrequest = 30s", "2:11: invalid TOML: string values must be quoted; write \"30s\", with quotes"),
    ("[plugins]\ndirectory = ''", "2:13: plugins.directory is empty; write a path, such as \"plugins\""),
    ("[plugins]\ndirectory = []", "2:13: plugins.directory is an array; write a string, in quotes"),
    ("[plugins]\nauto_route = 1", "2:14: plugins.auto_route is an integer; write true or false, without quotes"),
    ("[plugin.\"a b\"]", "1:9: \"a b\" is not a plugin name; write 1 to 64 letters, digits, _ and -"),
    ("[plugin.\"../x\"]", "1:9: \"../x\" is not a plugin name; write 1 to 64 letters, digits, _ and -"),
    ("[plugin.\"\"]", "1:9: \"\" is not a plugin name; write 1 to 64 letters, digits, _ and -"),
    ("[plugin.x]\nthreads = 0", "2:11: plugin.x.threads = 0 is out of range; write an integer from 1 to 256, without quotes"),
    ("[plugin.x]\nthreads = 257", "2:11: plugin.x.threads = 257 is out of range; write an integer from 1 to 256, without quotes"),
    ("[plugin.x]\nqueue = 0", "2:9: plugin.x.queue = 0 is out of range; write an integer from 1 to 1000000, without quotes"),
    ("[plugin.x]\nreplace = \"stop_first\"", "2:11: plugin.x.replace \"stop_first\" is not valid; did you mean \"stop-first\"? write one of \"start-first\", \"stop-first\""),
    ("[plugin.x]\nsettings = 3", "2:12: plugin.x.settings is an integer; write a table, [plugin.x.settings]"),
    ("[plugin.x]\nsetting = {}", "2:1: unknown table \"setting\" in [plugin.x]; did you mean \"settings\"? the known keys are breaker, isolation, queue, replace, settings, spare_threads, threads, worker"),
    ("[plugin.x]\nsettings.n = nan", "2:14: nan cannot be represented in JSON, the format of plugin settings; write a finite number, or a string"),
    ("[plugin.x]\nsettings.n = [-inf]", "2:15: -inf cannot be represented in JSON, the format of plugin settings; write a finite number, or a string"),
    ("[plugin.x]\nsettings.n = 18446744073709551616", "2:14: 18446744073709551616 does not fit into 64 bits; write a smaller number, or a string"),
    ("[plugin.x]\nisolation = 'process'", "2:13: plugin.x.isolation \"process\" is not valid; did you mean \"in-process\"? write one of \"in-process\", \"worker\""),
    ("[plugin.x]\nisolation = true", "2:13: plugin.x.isolation is a boolean; write one of \"in-process\", \"worker\""),
    ("[plugin.x]\nworker = 2", "2:10: plugin.x.worker is an integer; write a table, [plugin.x.worker]"),
    ("[plugin.x.worker]\ncount = 0", "2:9: plugin.x.worker.count = 0 is out of range; write an integer from 1 to 16, without quotes"),
    ("[plugin.x.worker]\ncount = 17", "2:9: plugin.x.worker.count = 17 is out of range; write an integer from 1 to 16, without quotes"),
    ("[plugin.x]\nreplace = 'stop-first'\nworker = { count = 2 }", "3:20: plugin.x.worker.count = 2, but only one instance of a stop-first plugin can run; write 1, or replace = \"start-first\""),
    ("[plugin.x.worker]\nmemory = 256", "2:10: plugin.x.worker.memory is an integer; write a size with its unit, in quotes, such as \"256B\""),
    ("[plugin.x.worker]\nmemory = '0B'", "2:10: plugin.x.worker.memory \"0B\" is out of range; write a size from \"16MiB\" to \"1024GiB\""),
    ("[plugin.x.worker]\nrecycle_memory = '192MB'", "2:18: plugin.x.worker.recycle_memory \"192MB\" is not a size; write \"192MiB\""),
    ("[plugin.x.worker]\nrecycle_calls = -1", "2:17: plugin.x.worker.recycle_calls = -1 is out of range; write an integer from 0 to 1000000000, without quotes"),
    ("[plugin.x.worker]\nrecycle_age = 0", "2:15: plugin.x.worker.recycle_age is an integer; write a duration with its unit, in quotes, such as \"0s\""),
    ("[plugin.x.worker]\nrecycle_age = '9000h'", "2:15: plugin.x.worker.recycle_age \"9000h\" is out of range; write a duration from \"0us\" to \"8760h\""),
    ("[plugin.x.worker]\ngrace = '0s'", "2:9: plugin.x.worker.grace \"0s\" is out of range; write a duration from \"1ms\" to \"24h\""),
    ("[plugin.x.worker]\nfiles = 63", "2:9: plugin.x.worker.files = 63 is out of range; write an integer from 64 to 1048576, without quotes"),
    ("[plugin.x.worker]\nenvironment = 'PATH'", "2:15: plugin.x.worker.environment is a string; write names of environment variables in quotes: [\"DATABASE_URL\"]"),
    ("[plugin.x.worker]\nenvironment = [1]", "2:16: plugin.x.worker.environment contains an integer; write names of environment variables in quotes: [\"DATABASE_URL\"]"),
    ("[plugin.x.worker]\nenvironment = ['A=b']", "2:16: \"A=b\" is not the name of an environment variable; write letters, digits and _ without a value, such as \"DATABASE_URL\""),
    ("[plugin.x.worker]\nenvironment = ['']", "2:16: \"\" is not the name of an environment variable; write letters, digits and _ without a value, such as \"DATABASE_URL\""),
    ("[plugin.x.worker]\nenvironment = ['1A']", "2:16: \"1A\" is not the name of an environment variable; write letters, digits and _ without a value, such as \"DATABASE_URL\""),
    ("[plugin.x.worker]\nmemroy = '1GiB'", "2:1: unknown key \"memroy\" in [plugin.x.worker]; did you mean \"memory\"? the known keys are count, environment, files, grace, memory, recycle_age, recycle_calls, recycle_memory, sandbox"),
    ("[plugin.x.worker]\nsandbox = true", "2:11: plugin.x.worker.sandbox is a boolean; write a table, [plugin.x.worker.sandbox]"),
    ("[plugin.x.worker.sandbox]\nread = ['etc/ssl']", "2:9: plugin.x.worker.sandbox.read \"etc/ssl\" is not an absolute path; write a path from the root, such as \"/etc/ssl\""),
    ("[plugin.x.worker.sandbox]\nwrite = ['']", "2:10: plugin.x.worker.sandbox.write \"\" is not an absolute path; write a path from the root, such as \"/var/lib/jackfield/device\""),
    ("[plugin.x.worker.sandbox]\nread = [\"/a\\u0000\"]", "2:9: plugin.x.worker.sandbox.read \"/a\\0\" contains a NUL byte; write a path from the root, such as \"/etc/ssl\""),
    ("[plugin.x.worker.sandbox]\nwrite = '/tmp'", "2:9: plugin.x.worker.sandbox.write is a string; write absolute paths in quotes: [\"/var/lib/jackfield/device\"]"),
    ("[plugin.x.worker.sandbox]\nnetwork = 'no'", "2:11: plugin.x.worker.sandbox.network is a string; write true or false, without quotes"),
    ("[plugin.x.worker.sandbox]\nexec = true", "2:1: unknown key \"exec\" in [plugin.x.worker.sandbox]; did you mean \"execute\"? the known keys are execute, network, read, required, write"),
    ("[plugins.crash]\naction = 'isolate'", "2:10: plugins.crash.action \"isolate\" is not valid; write one of \"quarantine\", \"worker\""),
    ("[[route]]\nplugin = 'b'", "1:1: [[route]] has no method; write method = \"device.*\""),
    ("[[route]]\nmethod = 'a'", "1:1: [[route]] has no plugin; write plugin = \"device\""),
    ("[[route]]\nmethod = 'a'\nplugin = '../b'", "3:10: \"../b\" is not a plugin name; write 1 to 64 letters, digits, _ and -"),
    ("[[route]]\nmethod = '*'\nplugin = 'b'", "2:10: route.method \"*\" matches every method; write a full name, or a prefix ending in .* such as \"device.*\""),
    ("[[route]]\nmethod = ''\nplugin = 'b'", "2:10: route.method \"\" is empty; write segments of letters, digits, _ and -, separated by dots, at most 256 bytes, such as \"device.status\" or \"device.*\""),
    ("[[route]]\nmethod = '.*'\nplugin = 'b'", "2:10: route.method \".*\" contains an empty segment; write segments of letters, digits, _ and -, separated by dots, at most 256 bytes, such as \"device.status\" or \"device.*\""),
    ("[[route]]\nmethod = 'a*'\nplugin = 'b'", "2:10: route.method \"a*\" contains a * that is not its last segment; write a full name, or a prefix ending in .* such as \"device.*\""),
    ("[[route]]\nmethod = 'a.*.c'\nplugin = 'b'", "2:10: route.method \"a.*.c\" contains a * that is not its last segment; write a full name, or a prefix ending in .* such as \"device.*\""),
    ("[[route]]\nmethod = '.a'\nplugin = 'b'", "2:10: route.method \".a\" contains an empty segment; write segments of letters, digits, _ and -, separated by dots, at most 256 bytes, such as \"device.status\" or \"device.*\""),
    ("[[route]]\nmethod = 'a.'\nplugin = 'b'", "2:10: route.method \"a.\" contains an empty segment; write segments of letters, digits, _ and -, separated by dots, at most 256 bytes, such as \"device.status\" or \"device.*\""),
    ("[[route]]\nmethod = 'a..b'\nplugin = 'b'", "2:10: route.method \"a..b\" contains an empty segment; write segments of letters, digits, _ and -, separated by dots, at most 256 bytes, such as \"device.status\" or \"device.*\""),
    ("[[route]]\nmethod = 'ä'\nplugin = 'b'", "2:10: route.method \"ä\" contains 'ä', which method names must not contain; write segments of letters, digits, _ and -, separated by dots, at most 256 bytes, such as \"device.status\" or \"device.*\""),
    ("[[route]]\nmethod = 'system'\nplugin = 'b'", "2:10: route.method \"system\" is reserved for the host; write a name that does not begin with system"),
    ("[[route]]\nmethod = 'system.*'\nplugin = 'b'", "2:10: route.method \"system.*\" is reserved for the host; write a name that does not begin with system"),
    ("[[route]]\nmethod = 'system.ping'\nplugin = 'b'", "2:10: route.method \"system.ping\" is reserved for the host; write a name that does not begin with system"),
    ("[[route]]\nmethod = 'a'\nplugin = 'b'\n[[route]]\nmethod = 'a'\nplugin = 'c'", "5:10: the route in line 1 has the same method \"a\"; keep one of them"),
    ("[[route]]\nmethod = 'a'\nplugin = 'b'\ntimeout = 5", "4:11: route.timeout is an integer; write a duration with its unit, in quotes, such as \"5s\""),
    ("[[route]]\nmethod = 'a'\nplugin = 'b'\nmax_in_flight = 0", "4:17: route.max_in_flight = 0 is out of range; write an integer from 1 to 1000000, without quotes"),
    ("[[route]]\nmethod = 'a'\nplugin = 'b'\nenabled = 'no'", "4:11: route.enabled is a string; write true or false, without quotes"),
    ("[route]\nmethod = 'a'", "1:1: route is a table; write [[route]], once for each route"),
    ("route = 'a'", "1:9: route is a string; write [[route]], once for each route"),
    ("[log]\nlevel = 'INFO'", "2:9: log.level \"INFO\" is not valid; did you mean \"info\"? write one of \"error\", \"warn\", \"info\", \"debug\", \"trace\""),
    ("[log]\nlevel = 'loud'", "2:9: log.level \"loud\" is not valid; write one of \"error\", \"warn\", \"info\", \"debug\", \"trace\""),
    ("[log]\nformat = 'journal'", "2:10: log.format \"journal\" is not valid; did you mean \"journald\"? write one of \"text\", \"json\", \"journald\""),
    ("[log]\nformat = false", "2:10: log.format is a boolean; write one of \"text\", \"json\", \"journald\""),
    ("[log", "1:5: invalid TOML: unclosed table; write `]` here"),
    ("[log]\nlevel 'info'", "2:7: invalid TOML: key with no value; write key = value"),
    ("[log]\nlevel = ", "2:9: invalid TOML: string values must be quoted; write a value, strings in quotes"),
    ("[log]\nlevel = 'info", "2:14: invalid TOML: invalid literal string; write `'` here"),
    ("[log]\nlevel = info", "2:9: invalid TOML: invalid float; write \"info\", with quotes"),
    ("[log]\nlevel = 'info' 'warn'", "2:16: invalid TOML: unexpected key or value; write newline, `#` here"),
    ("[log]\nlevel = 'info'\nlevel = 'warn'", "3:1: invalid TOML: duplicate key; keep one of them"),
    ("[log]\n[log]", "2:2: invalid TOML: duplicate key; keep one of them"),
    ("[log]\nlevel = \"\\q\"", "2:11: invalid TOML: missing escaped value; write `b`, `e`, `f`, `n`, `r`, `\\`, `\"`, `x`, `u`, `U` here"),
    ("log.level.x = 1", "1:5: log.level is a table; write one of \"error\", \"warn\", \"info\", \"debug\", \"trace\""),
];
