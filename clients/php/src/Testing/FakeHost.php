<?php

/**
 * A host inside the test process: a program's own tests say what its methods answer, and no daemon runs.
 *
 *     $host = new FakeHost();
 *     $host->on('device.get', fn (mixed $params): array => ['status' => 'online']);
 *     $client = $host->client();
 */

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

final class FakeHost implements Connector
{
    /** @var array<string, callable(mixed): mixed> */
    private array $methods = [];
    /** @var list<array{method: string, params: mixed}> */
    private array $calls = [];
    private bool $down = false;

    public function __construct()
    {
        $this->on('system.ping', static fn (): string => 'pong');
        $this->on('system.echo', static fn (mixed $params): mixed => $params);
    }

    /**
     * Answers a method with what the function returns; a RemoteException it throws is answered as that error. Any
     * other exception is the test's own and comes out of the client's call.
     *
     * @param callable(mixed): mixed $answer takes the params, objects being arrays
     */
    public function on(string $method, callable $answer): self
    {
        $this->methods[$method] = $answer;

        return $this;
    }

    /** Never answers the method: the call ends with its deadline. */
    public function silent(string $method): self
    {
        return $this->on($method, static fn (): FakeReply => FakeReply::None);
    }

    /** Ends the connection instead of answering the method. */
    public function hangsUpOn(string $method): self
    {
        return $this->on($method, static fn (): FakeReply => FakeReply::HangUp);
    }

    /** Refuses further connections, as if no host listened; or takes them again. */
    public function down(bool $down = true): self
    {
        $this->down = $down;

        return $this;
    }

    /** A client of this host. */
    public function client(?Options $options = null): Client
    {
        return Client::over($this, $options);
    }

    /**
     * What was called, in order.
     *
     * @return list<array{method: string, params: mixed}>
     */
    public function calls(): array
    {
        return $this->calls;
    }

    public function connect(): Transport
    {
        if ($this->down) {
            throw new ConnectException('cannot connect to the fake host: Connection refused', 111, true);
        }

        return new FakeTransport($this);
    }

    public function address(): string
    {
        return 'fake host';
    }

    /**
     * @internal the bytes that answer a frame; null: end the connection
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
                throw RemoteException::from(Code::METHOD_NOT_FOUND, "no method $method", null);
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

        return Header::frame(
            $kind === Header::ASYNC_REQUEST ? Header::ASYNC_RESPONSE : Header::SYNC,
            json_encode($reply, JSON_THROW_ON_ERROR | JSON_PRESERVE_ZERO_FRACTION)
        );
    }
}
