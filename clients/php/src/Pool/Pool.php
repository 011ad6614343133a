<?php

declare(strict_types=1);

namespace Jackfield\Pool;

use Jackfield\Exception\ConnectException;
use Jackfield\Log;
use Jackfield\Options;
use Jackfield\Process;
use Jackfield\Transport\Connector;

use function array_pop, array_shift, count, hrtime;

/**
 * The connections of one client.
 *
 * Idle connections are reused before new ones are made, each is checked before it is used, and
 * their number never exceeds Options::$maxConnections.
 *
 * @internal
 */
final class Pool
{
    /**
     * @var list<Connection> the most recently used connection is the last one. It is reused first,
     *                       so that surplus connections reach the idle time-out
     */
    private array $idle = [];

    /**
     * @var \WeakMap<Connection, true> connections in use. A connection that its user has lost,
     *                                 because a signal handler threw, counts no longer
     */
    private \WeakMap $busy;

    /** Consecutive failures to connect. */
    private int $failures = 0;

    /** Earliest instant of the next attempt to connect, as hrtime(true). */
    private int $nextConnectAt = 0;

    private ?ConnectException $connectFailure = null;

    /** Process that made the connections. */
    private int $process;

    /** Idle time after which a connection is closed, in nanoseconds. */
    private readonly int $idleTimeout;

    public function __construct(
        private readonly Connector $connector,
        private readonly Options $options,
        private readonly Log $log,
    ) {
        $this->busy = new \WeakMap();
        $this->process = Process::id();
        $this->idleTimeout = (int) ($options->idleTimeout * 1e9);
    }

    /**
     * Returns a connection that belongs to the caller until release() or discard().
     *
     * @param int      $now      the current hrtime(true)
     * @param int|null $deadline until when to wait for the heartbeat of a connection that was idle
     *                           for long, as hrtime(true). If null, the heartbeat is only queued
     *
     * @return Connection|null null if the limit is reached (isFull()), or if connecting failed and
     *                         the next attempt is due later (nextConnectAt())
     *
     * @throws ConnectException if connecting failed and a later attempt cannot succeed
     */
    public function acquire(int $now, ?int $deadline): ?Connection
    {
        while (($connection = array_pop($this->idle)) !== null) {
            if (self::activate($connection, $now, $deadline)) {
                $this->busy[$connection] = true;

                return $connection;
            }
            $connection->close();
        }

        while (count($this->busy) < $this->options->maxConnections && $now >= $this->nextConnectAt) {
            $connection = $this->connect($now);
            if ($connection === null) {
                break;
            }
            if (self::activate($connection, $now, $deadline)) {
                $this->busy[$connection] = true;

                return $connection;
            }

            // A persistent socket of an earlier request that the host has closed since. Closing it
            // frees its slot for a new one.
            $connection->close();
        }

        return null;
    }

    /**
     * Returns an idle connection to the pool, or closes it if it must not be used again.
     */
    public function release(Connection $connection): void
    {
        unset($this->busy[$connection]);
        if ($connection->acceptsNoCalls) {
            $connection->close();

            return;
        }

        $this->failures = 0;
        $now = hrtime(true);
        $connection->markIdle($now);
        $this->idle[] = $connection;

        if ($this->idle[0]->idleSince < $now - $this->idleTimeout) {
            array_shift($this->idle)->close();
        }
    }

    /**
     * Closes a connection that is not idle.
     */
    public function discard(Connection $connection): void
    {
        unset($this->busy[$connection]);
        try {
            $connection->close();
        } catch (\Throwable $thrown) {
            $connection->close();
            throw $thrown;
        }
    }

    /**
     * Records a failure to connect and delays the next attempt.
     *
     * A new connection that was closed before it took a request counts as a failure to connect.
     */
    public function recordConnectFailure(): void
    {
        $this->nextConnectAt = hrtime(true) + Backoff::nanos(++$this->failures);
    }

    /**
     * Returns whether the limit of connections in use is reached.
     */
    public function isFull(): bool
    {
        return count($this->busy) >= $this->options->maxConnections;
    }

    /**
     * Returns the earliest instant of the next attempt to connect, as hrtime(true).
     */
    public function nextConnectAt(): int
    {
        return $this->nextConnectAt;
    }

    /**
     * Returns the failure of the last attempt to connect, or null if it succeeded.
     */
    public function connectFailure(): ?ConnectException
    {
        return $this->connectFailure;
    }

    /**
     * Returns the address of the host, for error messages.
     */
    public function address(): string
    {
        return $this->connector->address();
    }

    /**
     * Returns the number of connections.
     *
     * @return array{idle: int, busy: int}
     */
    public function counts(): array
    {
        return ['idle' => count($this->idle), 'busy' => count($this->busy)];
    }

    /**
     * Closes all connections if the process has forked since they were made.
     *
     * A child must not use the sockets of its parent. Closing the child's copies does not affect
     * the parent.
     *
     * Process::lastId() has to be up to date.
     *
     * @return bool whether the process has forked
     */
    public function resetAfterFork(): bool
    {
        if ($this->process === Process::lastId()) {
            return false;
        }

        $this->process = Process::lastId();
        foreach ($this->idle as $connection) {
            $connection->close();
        }
        $this->idle = [];
        $this->closeBusy();

        return true;
    }

    /**
     * Closes all connections. Idle persistent sockets stay open for the next request.
     */
    public function close(): void
    {
        foreach ($this->idle as $connection) {
            $connection->leave();
        }
        $this->idle = [];
        $this->closeBusy();
    }

    private function closeBusy(): void
    {
        foreach ($this->busy as $connection => $_) {
            $connection->close();
        }
        $this->busy = new \WeakMap();
    }

    private static function activate(Connection $connection, int $now, ?int $deadline): bool
    {
        try {
            return $connection->activate($now, $deadline);
        } catch (\Throwable $thrown) {
            // Only a signal handler of the program throws here.
            $connection->close();
            throw $thrown;
        }
    }

    private function connect(int $now): ?Connection
    {
        try {
            $connection = new Connection($this->connector->connect(), $this->options, $now);
        } catch (ConnectException $failure) {
            $this->connectFailure = $failure;
            $this->recordConnectFailure();
            $this->log->connectFailed($this->connector->address(), $failure, $this->failures);
            if (!$failure->isRetryable()) {
                throw $failure;
            }

            return null;
        }

        $this->connectFailure = null;

        return $connection;
    }
}
