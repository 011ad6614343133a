<?php

/**
 * A client of one host: what a program calls.
 */

declare(strict_types=1);

namespace Jackfield;

use Jackfield\Call\Caller;
use Jackfield\Call\Multiplexer;
use Jackfield\Exception\CancelledException;
use Jackfield\Exception\InvalidRequestException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\RemoteException;
use Jackfield\Pool\Pool;
use Jackfield\Transport\Connector;
use Jackfield\Transport\PersistentConnector;
use Jackfield\Transport\UnixConnector;

use function array_fill_keys, array_keys, hrtime, is_array, is_int, is_string, max;

final class Client
{
    private readonly Pool $pool;
    private readonly Caller $caller;
    private readonly Multiplexer $multiplexer;
    private bool $closed = false;

    private function __construct(Connector $connector, private readonly Options $options)
    {
        $log = new Log($options->logger);
        $this->pool = new Pool($connector, $options, $log);
        $this->caller = new Caller($this->pool, $options, $log);
        $this->multiplexer = new Multiplexer($this->pool, $options, $log);
    }

    /**
     * A client of the host at `unix:///path`. Nothing is connected before the first call.
     *
     * @throws InvalidRequestException when the address is none
     */
    public static function connect(string $address, ?Options $options = null): self
    {
        $options ??= new Options();

        return new self(
            $options->persistent
                ? new PersistentConnector($address, $options->maxConnections)
                : new UnixConnector($address),
            $options
        );
    }

    /** A client over connections of another make, such as those of Testing\FakeHost. */
    public static function over(Connector $connector, ?Options $options = null): self
    {
        return new self($connector, $options ?? new Options());
    }

    /**
     * Calls a method and waits for its result.
     *
     * @param mixed      $params     what json_encode() takes; null: none; an empty array is sent as an empty object
     * @param float|null $timeout    seconds for all of it: connecting, writing, waiting, reading; null: the option's
     * @param bool       $idempotent that running it twice does no harm: it may then be sent again after a connection
     *                               was lost
     * @throws JackfieldException
     */
    public function call(string $method, mixed $params = null, ?float $timeout = null, bool $idempotent = false): mixed
    {
        $deadline = $this->deadline($timeout);
        $this->multiplexer->checkProcess();
        if ($this->multiplexer->isIdle() && !($this->options->fibers && \Fiber::getCurrent() !== null)) {
            return $this->caller->call($method, $params, $deadline, $idempotent);
        }

        // Async calls are under way: this one joins them, so that they go on while it waits.
        return $this->multiplexer->submit($method, $params, $deadline, $idempotent)->await();
    }

    /**
     * Begins a call. Its request is sent at once if the host takes it; the reply is read by await(), tick() or run().
     * Where more than Options::$maxUnsentBytes wait for a host that does not read, this waits too.
     *
     * @throws JackfieldException when the request cannot be sent at all; every later failure is the future's
     */
    public function callAsync(
        string $method,
        mixed $params = null,
        ?float $timeout = null,
        bool $idempotent = false,
    ): Future {
        return $this->multiplexer->submit($method, $params, $this->deadline($timeout), $idempotent)->ownedBy($this);
    }

    /**
     * Begins a call in the shape of a message and a callback.
     *
     * The callback is called once, from within tick(), run() or any waiting call, with the reply:
     * `['id' => …, 'result' => …]`, or `['id' => …, 'error' => ['code' => …, 'message' => …, 'data' => …]]`. When no
     * reply came, the error's code is 0 and a member `exception` says why.
     *
     * @param array{method: string, params?: mixed, timestamp?: int} $message other members are not sent
     * @param callable(array<string, mixed>): mixed $callback
     * @return string the request's id
     * @throws JackfieldException when the request cannot be sent at all
     */
    public function sendAsync(array $message, callable $callback, ?float $timeout = null): string
    {
        $method = $message['method'] ?? null;
        $timestamp = $message['timestamp'] ?? null;
        if (!is_string($method) || !($timestamp === null || is_int($timestamp))) {
            throw new InvalidRequestException('a message needs a "method", a string; its "timestamp" is an integer');
        }
        $future = $this->multiplexer->submit(
            $method,
            $message['params'] ?? null,
            $this->deadline($timeout),
            false,
            $timestamp
        );
        $id = $future->ownedBy($this)->id();
        $future->then(
            static fn (mixed $result): mixed => $callback(['id' => $id, 'result' => $result]),
            static fn (\Throwable $failure): mixed => $callback(self::errorReply($id, $failure))
        );

        return $id;
    }

    /**
     * Makes many calls at once and waits for all of them. There may be more than Options::$maxQueued.
     *
     * @param array<array-key, array{0: string, 1?: mixed}> $calls method and params of each
     * @return array<array-key, mixed> under the same keys, in the same order: each call's result, or the
     *                                 JackfieldException it ended with
     */
    public function batch(array $calls, ?float $timeout = null, bool $idempotent = false): array
    {
        $deadline = $this->deadline($timeout);
        $futures = [];
        $outcomes = array_fill_keys(array_keys($calls), null);
        $this->multiplexer->corked(function () use ($calls, $deadline, $idempotent, &$futures, &$outcomes): void {
            foreach ($calls as $key => $call) {
                if (!is_array($call) || !is_string($call[0] ?? null)) {
                    throw new InvalidRequestException("call \"$key\" of the batch is not [method, params]");
                }
                try {
                    $this->multiplexer->awaitRoom($deadline);
                    $futures[$key] = $this->multiplexer->submit($call[0], $call[1] ?? null, $deadline, $idempotent);
                } catch (JackfieldException $failure) {
                    $outcomes[$key] = $failure;
                }
            }
        });
        foreach ($futures as $key => $future) {
            try {
                $outcomes[$key] = $future->await();
            } catch (JackfieldException $failure) {
                $outcomes[$key] = $failure;
            }
        }

        return $outcomes;
    }

    /**
     * Asks whether the host is there: a heartbeat, and its answer read.
     *
     * @return float seconds from the one to the other
     * @throws JackfieldException
     */
    public function ping(?float $timeout = null): float
    {
        $deadline = $this->deadline($timeout);
        $this->multiplexer->checkProcess();
        while ($this->pool->isFull() && hrtime(true) < $deadline) {
            // Async calls hold every connection: one is free when its calls have ended.
            $this->multiplexer->tick($deadline);
        }

        return $this->caller->ping($deadline);
    }

    /**
     * Does what can be done for async calls, waiting for at most `$timeout` seconds for something to do.
     *
     * @return int calls that ended
     */
    public function tick(float $timeout = 0.0): int
    {
        return $this->multiplexer->tick(hrtime(true) + (int) ($timeout * 1e9));
    }

    /** Ticks until no async call is without an outcome; each has a deadline, so this ends. */
    public function run(): void
    {
        while ($this->multiplexer->pending() > 0) {
            $this->multiplexer->tick(PHP_INT_MAX);
        }
    }

    /** Async calls without an outcome. */
    public function pending(): int
    {
        return $this->multiplexer->pending();
    }

    /**
     * The streams to put into a stream_select() of one's own; call tick() when one of them is ready, or after
     * secondsUntilDue(). They change with every call.
     *
     * @return array{read: list<resource>, write: list<resource>}
     */
    public function streams(): array
    {
        return $this->multiplexer->streams();
    }

    /** Seconds until tick() has something to do even if no stream is ready; null: never. */
    public function secondsUntilDue(): ?float
    {
        $due = $this->multiplexer->nextDue();

        return $due === null ? null : max(0, $due - hrtime(true)) / 1e9;
    }

    /**
     * Sockets in the pool.
     *
     * @return array{idle: int, busy: int}
     */
    public function connections(): array
    {
        return $this->pool->counts();
    }

    /** Ends every call and every connection; persistent sockets at rest stay for the next request. */
    public function close(): void
    {
        if (!$this->closed) {
            $this->closed = true;
            $this->multiplexer->close('the client was closed');
            $this->pool->close();
        }
    }

    public function __destruct()
    {
        $this->close();
    }

    private function deadline(?float $timeout): int
    {
        if ($this->closed) {
            throw new CancelledException('the client is closed', false);
        }

        return $this->options->deadline($timeout);
    }

    /** @return array<string, mixed> */
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
