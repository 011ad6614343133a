<?php

declare(strict_types=1);

namespace Jackfield;

use Jackfield\Call\Batch;
use Jackfield\Call\BytesCall;
use Jackfield\Call\CallbackMessage;
use Jackfield\Call\Multiplexer;
use Jackfield\Call\RequestMembers;
use Jackfield\Call\SyncCaller;
use Jackfield\Exception\CancelledException;
use Jackfield\Exception\InvalidRequestException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\UnsupportedException;
use Jackfield\Pool\Pool;
use Jackfield\Transport\Connector;
use Jackfield\Transport\PersistentConnector;
use Jackfield\Transport\UnixConnector;

use function hrtime;

/**
 * A client of one Jackfield host.
 *
 * A time-out covers a whole call: connecting, writing, waiting and reading. Sync and async calls
 * share a pool of connections.
 */
final class Client extends AsyncLoop
{
    private readonly SyncCaller $syncCaller;
    private bool $isClosed = false;

    /** Time-out of a call that passes none, in nanoseconds. */
    private readonly int $timeout;

    private readonly RequestMembers $members;

    private function __construct(Connector $connector, private readonly Options $options)
    {
        $log = new Log($options->logger);
        $pool = new Pool($connector, $options, $log);
        parent::__construct($pool, new Multiplexer($pool, $options, $log));
        $this->timeout = (int) ($options->timeout * 1e9);
        $this->members = $options->members;
        $this->syncCaller = new SyncCaller($pool, $options, $log);
    }

    /**
     * Creates a client of the host at an address. The first call makes the first connection.
     *
     * @param string $address `unix:///path`
     *
     * @throws InvalidRequestException if it is not the address of a Unix socket
     */
    public static function connect(string $address, ?Options $options = null): self
    {
        $options ??= new Options();
        $connector = $options->persistent
            ? new PersistentConnector($address, $options->maxConnections)
            : new UnixConnector($address);

        return new self($connector, $options);
    }

    /**
     * Creates a client that uses connections of another kind, such as those of Testing\FakeHost.
     */
    public static function over(Connector $connector, ?Options $options = null): self
    {
        $options ??= new Options();

        return new self($connector, $options);
    }

    /**
     * Calls a method and waits for its result.
     *
     * @param mixed       $params      a value that json_encode() accepts, or Bytes; null sends no
     *                                 params; an empty array is sent as an empty object, but a
     *                                 nested one as an empty list: cast arrays that are maps,
     *                                 `(object) $map`
     * @param float|null  $timeout     seconds for the whole call, 0 to 86,400; null: the option
     * @param bool        $idempotent  whether running the request twice is harmless; it may then be
     *                                 sent again after a connection was lost
     * @param string|null $traceparent traceparent of the request; null: the option; '': none
     * @param string|null $tracestate  tracestate that belongs to it
     * @param array<string, string>|null $meta metadata for the plugin; null: the option
     *
     * @return mixed the result; Bytes if the method returned bytes
     *
     * @throws JackfieldException if the call failed
     */
    public function call(
        string $method,
        mixed $params = null,
        ?float $timeout = null,
        bool $idempotent = false,
        ?string $traceparent = null,
        ?string $tracestate = null,
        ?array $meta = null,
    ): mixed {
        $started = hrtime(true);
        $deadline = $timeout === null && !$this->isClosed
            ? $started + $this->timeout
            : $this->deadline($timeout, $started);
        $members = $traceparent !== null || $tracestate !== null || $meta !== null || $this->members->hasDefaults
            ? $this->members->encode($traceparent, $tracestate, $meta)
            : '';

        $id = Uuid::v4();
        if ($this->pool->process !== Process::$last) {
            $this->multiplexer->abandonCallsOfParent();
        }
        if ($this->multiplexer->isIdle() && !($this->options->fibers && \Fiber::getCurrent() !== null)) {
            return $this->syncCaller->call($id, $method, $params, $members, $started, $deadline, $idempotent);
        }

        // Async calls are in flight. An async call lets them continue while this method waits.
        $this->syncCaller->timing = '';
        $future = $this->multiplexer->submit($method, $params, $started, $deadline, $idempotent, members: $members);
        try {
            $result = $future->await();
        } catch (\Throwable $thrown) {
            $this->syncCaller->timing = $future->timing;
            throw $thrown;
        }
        $this->syncCaller->timing = $future->timing;

        return $result;
    }

    /**
     * Calls a method that returns bytes, and waits for them.
     *
     * @param mixed $params a string is sent as bytes, and any other value as JSON
     * @param array<string, string>|null $meta see call(), as for the other parameters
     *
     * @throws UnsupportedException if the host does not accept bytes; nothing was sent
     * @throws JackfieldException   if the call failed
     */
    public function callBytes(
        string $method,
        mixed $params = null,
        ?float $timeout = null,
        bool $idempotent = false,
        ?string $traceparent = null,
        ?string $tracestate = null,
        ?array $meta = null,
    ): string {
        $params = BytesCall::returning($params);

        return $this->call($method, $params, $timeout, $idempotent, $traceparent, $tracestate, $meta);
    }

    /**
     * Starts a call and returns its future outcome.
     *
     * The request is sent immediately if the host reads it. await(), tick() or run() read the
     * reply. If the host does not read and more than Options::$maxUnsentBytes are buffered, this
     * method waits. The parameters are those of call().
     *
     * @param array<string, string>|null $meta
     *
     * @throws JackfieldException if the request cannot be sent; the future reports later failures
     */
    public function callAsync(
        string $method,
        mixed $params = null,
        ?float $timeout = null,
        bool $idempotent = false,
        ?string $traceparent = null,
        ?string $tracestate = null,
        ?array $meta = null,
    ): Future {
        $started = hrtime(true);
        $deadline = $this->deadline($timeout, $started);
        $members = $this->members->encode($traceparent, $tracestate, $meta);

        return $this->multiplexer
            ->submit($method, $params, $started, $deadline, $idempotent, members: $members)
            ->ownedBy($this);
    }

    /**
     * Starts a call of a method that returns bytes, as callAsync() does. The result is a string.
     *
     * @param mixed $params a string is sent as bytes, and any other value as JSON
     * @param array<string, string>|null $meta see call(), as for the other parameters
     *
     * @throws JackfieldException if the request cannot be sent; the future reports later failures
     */
    public function callBytesAsync(
        string $method,
        mixed $params = null,
        ?float $timeout = null,
        bool $idempotent = false,
        ?string $traceparent = null,
        ?string $tracestate = null,
        ?array $meta = null,
    ): Future {
        $params = BytesCall::returning($params);

        return $this->callAsync($method, $params, $timeout, $idempotent, $traceparent, $tracestate, $meta);
    }

    /**
     * Starts a call that is described by a message, and passes the reply to a callback.
     *
     * tick(), run() or any waiting call calls the callback, exactly once. The reply is an array:
     *
     * - `['id' => …, 'result' => …]`, or
     * - `['id' => …, 'error' => ['code' => …, 'message' => …, 'data' => …]]`. If no reply arrived,
     *   the error code is 0 and the member `exception` of the array holds the reason.
     *
     * @param array{method: string, params?: mixed, timestamp?: int} $message the request; other
     *        members are not sent
     * @param callable(array<string, mixed>): mixed $callback
     * @param array<string, string>|null $meta see call(), as for the other parameters
     *
     * @return string the id of the request
     *
     * @throws JackfieldException if the request cannot be sent
     */
    public function sendAsync(
        array $message,
        callable $callback,
        ?float $timeout = null,
        ?string $traceparent = null,
        ?string $tracestate = null,
        ?array $meta = null,
    ): string {
        $message = new CallbackMessage($message);
        $started = hrtime(true);
        $deadline = $this->deadline($timeout, $started);
        $members = $this->members->encode($traceparent, $tracestate, $meta);

        $future = $this->multiplexer->submit(
            $message->method,
            $message->params,
            $started,
            $deadline,
            false,
            $message->timestamp,
            members: $members
        );
        $id = $future->ownedBy($this)->id();
        $future->then(
            static fn (mixed $result): mixed => $callback(['id' => $id, 'result' => $result]),
            static fn (\Throwable $failure): mixed => $callback(CallbackMessage::errorReply($id, $failure))
        );

        return $id;
    }

    /**
     * Makes many calls at the same time and waits for all of them.
     *
     * Their number may exceed Options::$maxQueued.
     *
     * @param array<array-key, array{0: string, 1?: mixed}> $calls method and params of each call
     * @param float|null $timeout seconds for all calls together
     * @param array<string, string>|null $meta see call(), as for the other parameters
     *
     * @return array<array-key, mixed> the outcomes with the keys and the order of `$calls`: the
     *                                 result, or the JackfieldException of a call that failed
     */
    public function batch(
        array $calls,
        ?float $timeout = null,
        bool $idempotent = false,
        ?string $traceparent = null,
        ?string $tracestate = null,
        ?array $meta = null,
    ): array {
        $started = hrtime(true);
        $deadline = $this->deadline($timeout, $started);
        $members = $this->members->encode($traceparent, $tracestate, $meta);
        return (new Batch($this->multiplexer, $calls, $members))->run($started, $deadline, $idempotent);
    }

    /**
     * Sends a heartbeat to the host and waits for the answer.
     *
     * @param float|null $timeout see call()
     *
     * @return float seconds until the answer
     *
     * @throws JackfieldException if no answer arrived
     */
    public function ping(?float $timeout = null): float
    {
        $started = hrtime(true);
        $deadline = $this->deadline($timeout, $started);
        $this->leaveParent();

        while ($this->pool->isFull() && hrtime(true) < $deadline) {
            // Async calls use all connections. Wait until the calls of one connection have ended.
            $this->multiplexer->tick($deadline);
        }

        return $this->syncCaller->ping($started, $deadline);
    }

    /**
     * Returns how long the host needed for the last call() or callBytes() of this client.
     *
     * @return Timing|null null if no reply has arrived, if the host sends no timings, and for the
     *                     first call of a connection
     */
    public function lastTiming(): ?Timing
    {
        return Timing::parse($this->syncCaller->timing);
    }

    /**
     * Ends all calls and connections. Idle persistent sockets stay open for the next request.
     */
    public function close(): void
    {
        $this->end(false);
    }

    public function __destruct()
    {
        $this->end(true);
    }

    private function end(bool $inDestructor): void
    {
        if (!$this->isClosed) {
            $this->isClosed = true;
            $this->leaveParent();
            $this->multiplexer->close($inDestructor);
            $this->pool->close();
        }
    }

    private function deadline(?float $timeout, int $started): int
    {
        if ($this->isClosed) {
            throw new CancelledException('the client is closed (create a new one with Client::connect())', false);
        }

        return $this->options->deadline($timeout, $started);
    }
}
