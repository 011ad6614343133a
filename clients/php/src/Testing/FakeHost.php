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
use Jackfield\Wire\Header;

/**
 * A host inside the test process, so that the tests of a program need no daemon.
 *
 * The test registers the answers of the methods:
 *
 *     $host = new FakeHost();
 *     $host->on('device.get', fn (mixed $params): array => ['status' => 'online']);
 *     $client = $host->client();
 *
 * `system.ping` and `system.echo` are registered from the start.
 */
final class FakeHost implements Connector
{
    /** @var array<string, callable(mixed): mixed> */
    private array $methods = [];

    /** @var list<array{method: string, params: mixed}> */
    private array $calls = [];

    private bool $isDown = false;

    public function __construct()
    {
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

    public function connect(): Transport
    {
        if ($this->isDown) {
            throw new ConnectException(
                'cannot connect to the fake host: Connection refused (down() was called)',
                111,
                true
            );
        }

        return new FakeTransport($this);
    }

    public function address(): string
    {
        return 'fake host ' . spl_object_id($this);
    }

    /**
     * Returns the bytes that answer a frame, or null to close the connection.
     *
     * @internal
     */
    public function answer(int $kind, string $payload): ?string
    {
        if ($kind === Header::HEARTBEAT) {
            return Header::HEARTBEAT_FRAME;
        }

        $request = json_decode($payload, true);
        $method = $request['method'];
        $params = $request['params'] ?? null;
        $this->calls[] = ['method' => $method, 'params' => $params];

        $reply = ['id' => $request['id']];
        try {
            if (!isset($this->methods[$method])) {
                throw RemoteException::from(Code::METHOD_NOT_FOUND, "method not found: $method", null);
            }
            $result = ($this->methods[$method])($params);
            if ($result instanceof FakeReply) {
                return $result === FakeReply::None ? '' : null;
            }
            $reply['result'] = $result;
        } catch (RemoteException $error) {
            $reply['error'] = ['code' => $error->getCode(), 'message' => $error->getMessage()];
            if ($error->data() !== null) {
                $reply['error']['data'] = $error->data();
            }
        }

        $kind = $kind === Header::ASYNC_REQUEST ? Header::ASYNC_RESPONSE : Header::SYNC;
        $payload = json_encode($reply, JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION);

        return Header::frame($kind, $payload);
    }
}
