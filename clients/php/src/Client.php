<?php

declare(strict_types=1);

namespace Jackfield;

use Jackfield\Call\Batch;
use Jackfield\Call\Multiplexer;
use Jackfield\Call\SyncCaller;
use Jackfield\Exception\CancelledException;
use Jackfield\Exception\InvalidRequestException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\RemoteException;
use Jackfield\Pool\Pool;
use Jackfield\Transport\Connector;
use Jackfield\Transport\PersistentConnector;
use Jackfield\Transport\UnixConnector;

use function array_values, hrtime, is_int, is_string, max;

/**
 * A client of one Jackfield host.
 *
 * A time-out covers a whole call: connecting, writing, waiting and reading. Sync and async calls
 * share a pool of connections.
 */
final class Client
{
    private readonly Pool $pool;
    private readonly SyncCaller $syncCaller;
    private readonly Multiplexer $multiplexer;
    private bool $isClosed = false;

    /** Time-out of a call that passes none, in nanoseconds. */
    private readonly int $timeout;

    private function __construct(Connector $connector, private readonly Options $options)
    {
        $log = new Log($options->logger);
        $this->timeout = (int) ($options->timeout * 1e9);
        $this->pool = new Pool($connector, $options, $log);
        $this->syncCaller = new SyncCaller($this->pool, $options, $log);
        $this->multiplexer = new Multiplexer($this->pool, $options, $log);
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
     * @param mixed      $params     a value that json_encode() accepts; null sends no params; an
     *                               empty array is sent as an empty object, but a nested one as an
     *                               empty list: cast arrays that are maps, `(object) $map`
     * @param float|null $timeout    seconds for the whole call, 0 to 86,400; null: the option
     * @param bool       $idempotent whether running the request twice is harmless; it may then be
     *                               sent again after a connection was lost
     *
     * @throws JackfieldException if the call failed
     */
    public function call(string $method, mixed $params = null, ?float $timeout = null, bool $idempotent = false): mixed
    {
        $started = hrtime(true);
        $deadline = $timeout === null && !$this->isClosed
            ? $started + $this->timeout
            : $this->deadline($timeout, $started);
        $id = Uuid::v4();
        if ($this->pool->process !== Process::$last) {
            $this->multiplexer->abandonCallsOfParent();
        }
        if ($this->multiplexer->isIdle() && !($this->options->fibers && \Fiber::getCurrent() !== null)) {
            return $this->syncCaller->call($id, $method, $params, $started, $deadline, $idempotent);
        }

        // Async calls are in flight. An async call lets them continue while this method waits.
        return $this->multiplexer->submit($method, $params, $started, $deadline, $idempotent)->await();
    }

    /**
     * Starts a call and returns its future outcome.
     *
     * The request is sent immediately if the host reads it. await(), tick() or run() read the
     * reply. If the host does not read and more than Options::$maxUnsentBytes are buffered, this
     * method waits.
     *
     * @param mixed      $params     see call()
     * @param float|null $timeout    see call()
     * @param bool       $idempotent see call()
     *
     * @throws JackfieldException if the request cannot be sent; the future reports later failures
     */
    public function callAsync(
        string $method,
        mixed $params = null,
        ?float $timeout = null,
        bool $idempotent = false,
    ): Future {
        $started = hrtime(true);
        $deadline = $this->deadline($timeout, $started);

        return $this->multiplexer->submit($method, $params, $started, $deadline, $idempotent)->ownedBy($this);
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
     * @param float|null $timeout see call()
     *
     * @return string the id of the request
     *
     * @throws JackfieldException if the request cannot be sent
     */
    public function sendAsync(array $message, callable $callback, ?float $timeout = null): string
    {
        $method = $message['method'] ?? null;
        $timestamp = $message['timestamp'] ?? null;
        if (!is_string($method) || !($timestamp === null || is_int($timestamp))) {
            throw new InvalidRequestException(
                'sendAsync() needs a message with a string "method"; an optional "timestamp" must be an integer'
            );
        }

        $params = $message['params'] ?? null;
        $started = hrtime(true);
        $deadline = $this->deadline($timeout, $started);
        $future = $this->multiplexer->submit($method, $params, $started, $deadline, false, $timestamp);
        $id = $future->ownedBy($this)->id();
        $future->then(
            static fn (mixed $result): mixed => $callback(['id' => $id, 'result' => $result]),
            static fn (\Throwable $failure): mixed => $callback(self::errorReply($id, $failure))
        );

        return $id;
    }

    /**
     * Makes many calls at the same time and waits for all of them.
     *
     * Their number may exceed Options::$maxQueued.
     *
     * @param array<array-key, array{0: string, 1?: mixed}> $calls method and params of each call
     * @param float|null $timeout    seconds for all calls together; see call()
     * @param bool       $idempotent see call()
     *
     * @return array<array-key, mixed> the outcomes with the keys and the order of `$calls`: the
     *                                 result, or the JackfieldException of a call that failed
     */
    public function batch(array $calls, ?float $timeout = null, bool $idempotent = false): array
    {
        $started = hrtime(true);
        $deadline = $this->deadline($timeout, $started);
        $batch = new Batch($this->multiplexer, $calls);

        return $batch->run($started, $deadline, $idempotent);
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
     * Sends and receives for async calls, and runs callbacks.
     *
     * @param float $timeout how long to wait for a stream to become ready, in seconds
     *
     * @return int number of calls that ended
     */
    public function tick(float $timeout = 0.0): int
    {
        $until = hrtime(true) + (int) ($timeout * 1e9);

        return $this->multiplexer->tick($until);
    }

    /**
     * Runs tick() until every async call has an outcome. Each call has a deadline, so this ends.
     */
    public function run(): void
    {
        while ($this->multiplexer->pending() > 0) {
            $this->multiplexer->tick(PHP_INT_MAX);
        }
    }

    /**
     * Returns the number of async calls without an outcome.
     */
    public function pending(): int
    {
        $this->leaveParent();

        return $this->multiplexer->pending();
    }

    /**
     * Returns the streams to pass to stream_select() in an event loop.
     *
     * Call tick() when one of them is ready, or after secondsUntilDue(). Every call may change the
     * streams.
     *
     * @return array{read: list<resource>, write: list<resource>}
     */
    public function streams(): array
    {
        $this->leaveParent();

        ['read' => $read, 'write' => $write] = $this->multiplexer->streams();

        return ['read' => array_values($read), 'write' => array_values($write)];
    }

    /**
     * Returns the seconds until tick() has work even if no stream is ready; null: never.
     */
    public function secondsUntilDue(): ?float
    {
        $this->leaveParent();
        $due = $this->multiplexer->nextDue();
        $now = hrtime(true);

        return $due === null ? null : max(0, $due - $now) / 1e9;
    }

    /**
     * Returns the number of sockets in the pool.
     *
     * @return array{idle: int, busy: int}
     */
    public function connections(): array
    {
        $this->leaveParent();

        return $this->pool->counts();
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

    /** Ends the calls and connections of the parent if this process was forked meanwhile. */
    private function leaveParent(): void
    {
        if ($this->pool->process !== Process::id()) {
            $this->multiplexer->abandonCallsOfParent();
        }
    }

    private function deadline(?float $timeout, int $started): int
    {
        if ($this->isClosed) {
            throw new CancelledException('the client is closed (create a new one with Client::connect())', false);
        }

        return $this->options->deadline($timeout, $started);
    }

    /** @return array<string, mixed> the reply for the callback of sendAsync() */
    private static function errorReply(string $id, \Throwable $failure): array
    {
        $error = ['code' => 0, 'message' => $failure->getMessage()];
        if (!$failure instanceof RemoteException) {
            return ['id' => $id, 'error' => $error, 'exception' => $failure];
        }

        $error['code'] = $failure->getCode();
        if ($failure->data() !== null) {
            $error['data'] = $failure->data();
        }

        return ['id' => $id, 'error' => $error];
    }
}
