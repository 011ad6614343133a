<?php

declare(strict_types=1);

namespace Jackfield\Testing;

use Jackfield\Client;
use Jackfield\Exception\ConnectException;
use Jackfield\Exception\RemoteException;
use Jackfield\Options;
use Jackfield\Transport\Connector;
use Jackfield\Transport\Transport;
use Jackfield\Wire\Code;

/**
 * A host inside the test process, so that the tests of a program need no daemon.
 *
 * The test registers the answers of the methods:
 *
 *     $host = new FakeHost();
 *     $host->on('device.get', fn (mixed $params): array => ['status' => 'online']);
 *     $client = $host->client();
 *
 * `system.ping` and `system.echo` are registered from the start. A method that returns Bytes
 * answers with bytes, and receives Bytes if the client sent them.
 */
final class FakeHost implements Connector
{
    /** @var array<string, callable(mixed): mixed> */
    private array $methods = [];

    /** @var list<array{method: string, params: mixed}> */
    private array $calls = [];

    /** @var list<array<string, mixed>> see contexts() */
    private array $contexts = [];

    /** @var list<string> */
    private array $cancelled = [];

    /** @var \WeakMap<FakeTransport, true> */
    private \WeakMap $transports;

    private bool $isDown = false;
    private bool $speaksVersion12 = true;

    public function __construct()
    {
        $this->transports = new \WeakMap();
        $this->on('system.ping', static fn (): string => 'pong');
        $this->on('system.echo', static fn (mixed $params): mixed => $params);
    }

    /**
     * Registers a method: it is answered with the value that the function returns.
     *
     * A RemoteException that the function throws is sent as an error reply. Any other exception is
     * a fault of the test and is thrown by the client's call.
     *
     * @param callable(mixed): mixed $answer receives the params, with JSON objects as arrays
     */
    public function on(string $method, callable $answer): self
    {
        $this->methods[$method] = $answer;

        return $this;
    }

    /**
     * Registers a method that is never answered: the call ends at its deadline.
     */
    public function silent(string $method): self
    {
        return $this->on($method, static fn (): FakeReply => FakeReply::None);
    }

    /**
     * Registers a method on which the host closes the connection instead of answering.
     */
    public function hangsUpOn(string $method): self
    {
        return $this->on($method, static fn (): FakeReply => FakeReply::Close);
    }

    /**
     * Sets whether further connections are refused, as if no host were listening.
     */
    public function down(bool $down = true): self
    {
        $this->isDown = $down;

        return $this;
    }

    /**
     * Sets whether the host speaks version 1.1 of the protocol only, as an older host does.
     */
    public function version11(bool $only = true): self
    {
        $this->speaksVersion12 = !$only;

        return $this;
    }

    /**
     * Begins a restart: the existing connections run no further request, and new ones do.
     */
    public function restart(): self
    {
        foreach ($this->transports as $transport => $_) {
            $transport->goAway();
        }
        $this->transports = new \WeakMap();

        return $this;
    }

    /**
     * Creates a client of this host.
     */
    public function client(?Options $options = null): Client
    {
        return Client::over($this, $options);
    }

    /**
     * Returns the received calls, in order.
     *
     * @return list<array{method: string, params: mixed}>
     */
    public function calls(): array
    {
        return $this->calls;
    }

    /**
     * Returns what accompanied the received calls, in order.
     *
     * @return list<array{
     *     deadlineMs: ?int, traceparent: ?string, tracestate: ?string, meta: array<string, string>
     * }>
     */
    public function contexts(): array
    {
        return $this->contexts;
    }

    /**
     * Returns the methods of the calls that the client cancelled at the host, in order.
     *
     * @return list<string>
     */
    public function cancelled(): array
    {
        return $this->cancelled;
    }

    public function connect(): Transport
    {
        if ($this->isDown) {
            throw new ConnectException(
                'cannot connect to the fake host: Connection refused (down() was called)',
                111,
                true
            );
        }

        $transport = new FakeTransport($this);
        $this->transports[$transport] = true;

        return $transport;
    }

    public function address(): string
    {
        return 'fake host ' . spl_object_id($this);
    }

    /**
     * Runs the method of a request.
     *
     * @internal
     *
     * @param array<string, mixed> $request
     *
     * @throws RemoteException if the method is unknown or fails
     */
    public function run(array $request, mixed $params): mixed
    {
        $method = $request['method'];
        $this->calls[] = ['method' => $method, 'params' => $params];
        $this->contexts[] = [
            'deadlineMs' => $request['deadline_ms'] ?? null,
            'traceparent' => $request['traceparent'] ?? null,
            'tracestate' => $request['tracestate'] ?? null,
            'meta' => $request['meta'] ?? [],
        ];
        if (!isset($this->methods[$method])) {
            throw RemoteException::from(Code::METHOD_NOT_FOUND, "method not found: $method", null);
        }

        return ($this->methods[$method])($params);
    }

    /** @internal */
    public function recordCancelled(string $method): void
    {
        $this->cancelled[] = $method;
    }

    /** @internal */
    public function speaksVersion12(): bool
    {
        return $this->speaksVersion12;
    }
}
