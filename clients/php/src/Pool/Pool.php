<?php

declare(strict_types=1);

namespace Jackfield\Pool;

use Jackfield\Duration;
use Jackfield\Exception\ConnectException;
use Jackfield\Log;
use Jackfield\Options;
use Jackfield\Process;
use Jackfield\Transport\Connector;
use Jackfield\Transport\Outage;
use Jackfield\Wire\Hello;

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

    /** Failure of the last attempt to connect; null if it succeeded. */
    private ?ConnectException $connectFailure = null;

    /** When the first of the last failed attempts was made, as hrtime(true). */
    private int $failingSince = 0;

    private readonly Outage $outage;

    /** Time for which a call waits for a host that is down, in nanoseconds. */
    private readonly int $connectTimeout;

    /** Process that made the connections. It differs from Process::$last after a fork. */
    public int $process;

    /** Idle time after which a connection is closed, in nanoseconds. */
    private readonly int $idleTimeout;

    /** The hello that every connection begins with; null if the option is off. */
    private readonly ?Hello $hello;

    public function __construct(
        private readonly Connector $connector,
        private readonly Options $options,
        private readonly Log $log,
    ) {
        $this->busy = new \WeakMap();
        $this->outage = new Outage($connector->address());
        $this->connectTimeout = (int) ($options->connectTimeout * 1e9);
        $this->process = Process::id();
        $this->idleTimeout = (int) ($options->idleTimeout * 1e9);
        $this->hello = $options->hello
            ? new Hello($options->maxFrameBytes, $options->maxInFlightPerConnection, $options->timing)
            : null;
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
     * Returns whether the last attempt to connect failed.
     */
    public function isHostDown(): bool
    {
        return $this->connectFailure !== null;
    }

    /**
     * Returns whether a call that has found the host down may wait for it.
     *
     * The answer is for one call, or for calls that are made together.
     */
    public function mayWaitForHost(int $now): bool
    {
        return $this->outage->mayWait($now);
    }

    /**
     * Returns until when a call waits for a host that is down, as hrtime(true).
     *
     * @param int $started when the call began, as hrtime(true)
     */
    public function connectDeadline(int $started): int
    {
        return ($started > $this->failingSince ? $started : $this->failingSince) + $this->connectTimeout;
    }

    /**
     * Records that a call has waited in vain for a host that is down.
     *
     * @param int $started when the call began, as hrtime(true)
     */
    public function recordWait(int $started): void
    {
        $now = hrtime(true);
        $since = $started > $this->failingSince ? $started : $this->failingSince;
        $this->outage->recordWait($since, $now);
    }

    /**
     * Returns the exception of a call for which no connection could be made.
     *
     * @param string $subject  the method, or `heartbeat`
     * @param int    $started  when the call began, as hrtime(true)
     * @param int    $deadline an instant of hrtime(true), in nanoseconds
     */
    public function connectFailure(string $subject, int $started, int $deadline): ConnectException
    {
        $cause = $this->connectFailure;
        $reason = $cause?->getMessage()
            ?? "cannot connect to {$this->connector->address()}: the host closes every new connection immediately";
        $code = $cause?->getCode() ?? 0;
        $isTransient = $cause?->isRetryable() ?? true;
        $duration = Duration::ofCall($started, $deadline);
        $limit = Duration::text($this->connectTimeout);

        return new ConnectException(
            "$subject: $reason ($duration, connectTimeout $limit)",
            $code,
            $isTransient,
            $cause
        );
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
     * Closes all connections because the process has forked since they were made.
     *
     * A child must not use the sockets of its parent. Closing the child's copies does not affect
     * the parent.
     */
    public function resetAfterFork(): void
    {
        $this->process = Process::$last;
        foreach ($this->idle as $connection) {
            $connection->close();
        }
        $this->idle = [];
        $this->closeBusy();
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
            $connection = new Connection($this->connector->connect(), $this->options, $now, $this->hello);
        } catch (ConnectException $failure) {
            if ($this->connectFailure === null) {
                $this->failingSince = $now;
                $this->log->connectFailed($this->connector->address(), $failure, $this->connectTimeout);
            }
            $this->connectFailure = $failure;
            $this->recordConnectFailure();
            if (!$failure->isRetryable()) {
                throw $failure;
            }

            return null;
        }

        $this->connectFailure = null;
        $this->outage->clear();

        return $connection;
    }
}
