//! One trace from a PHP process through two plugins.

use crate::support::HostProcess;
use crate::support::build::root;
use crate::support::collector::{Collector, print_tree};
use crate::support::program::{command, finish};

/// A page that records its own span, calls a method, and hands its span over after its response.
const PAGE: &str = r#"
    require $argv[1];

    use Jackfield\Client;
    use Jackfield\Trace\Span;
    use Jackfield\Trace\SpanBuffer;

    $client = Client::connect("unix://$argv[2]");
    $spans = new SpanBuffer($client, 'shop');
    $page = Span::begin('GET /orders', null, Span::SERVER);
    $call = Span::begin('calls.wait', $page->traceparent(), Span::CLIENT);
    $params = ['method' => 'fixture.echo_blocking', 'params' => 7];
    echo $client->call('calls.wait', $params, traceparent: $call->traceparent()), "\n";
    $spans->add($call->end());
    $spans->add($page->attribute('http.response.status_code', 200)->end());
    $spans->finish(30.0);
    echo $spans->delivered(), ' ', $spans->dropped(), "\n";
"#;

#[test]
fn shows_one_trace_from_php_through_two_plugins() {
    let collector = Collector::start();
    let config = format!("{}spans = true\n", collector.config());
    let host = HostProcess::builder().plugin("calls").plugin("echoes").config(&config).start();

    let mut php = command("php");
    php.arg("-r").arg(PAGE).arg("--").arg(root().join("clients/php/autoload.php")).arg(host.socket());
    let finished = finish(&mut php);
    assert_eq!((finished.code, finished.stdout.as_str()), (0, "7\n2 0\n"), "{}", finished.stderr);

    let spans = collector.wait_for(4);
    print_tree(&spans);
    let chain = [
        ("shop", "GET /orders", 2),
        ("shop", "calls.wait", 3),
        ("jackfield", "calls.wait", 2),
        ("jackfield", "fixture.echo_blocking", 1),
    ];
    let mut parent = None;
    for (service, name, kind) in chain {
        let child = spans.iter().find(|span| span.parent_id == parent).expect("a span below the last one");
        assert_eq!((child.resource["service.name"].as_str(), child.kind), (Some(service), kind));
        assert_eq!((child.name.as_str(), &child.trace_id), (name, &spans[0].trace_id));
        parent = Some(child.span_id.clone());
    }
    assert_eq!(spans.len(), chain.len(), "{spans:?}");
}
