<?php

/**
 * The connections of one client: idle ones are used first, none is used unless it is sound, and there are never
 * more than the limit.
 */

declare(strict_types=1);

namespace Jackfield\Pool;

use Jackfield\Exception\ConnectException;
use Jackfield\Log;
use Jackfield\Options;
use Jackfield\Transport\Connector;
use Jackfield\Uuid;

use function array_pop, array_shift, count, function_exists, getmypid, hrtime;

final class Pool
{
    /** @var list<Connection> the one that rested last at the end: it is used first, the others grow old */
    private array $idle = [];
    /** @var array<int, Connection> those in use, by their keys */
    private array $busy = [];
    /** Failed attempts to connect since the last good one. */
    private int $failures = 0;
    /** No attempt to connect before this instant of hrtime(true). */
    private int $connectAt = 0;
    private ?ConnectException $failure = null;
    /** The process that made the connections; null where a process cannot fork. */
    private ?int $process;
    /** Nanoseconds after which an idle connection is closed. */
    private readonly int $idleTimeout;

    public function __construct(
        private readonly Connector $connector,
        private readonly Options $options,
        private readonly Log $log,
    ) {
        $this->process = function_exists('pcntl_fork') ? getmypid() : null;
        $this->idleTimeout = (int) ($options->idleTimeout * 1e9);
    }

    /**
     * A connection for the caller alone until give() or drop(); null when there is none now, because the limit is
     * reached (isFull()) or because connecting failed and is tried again later (connectAt()).
     *
     * @param int|null $deadline until when to wait for the answer to a heartbeat, on a connection that lay idle for
     *                           long; nanoseconds of hrtime(true). Null: not here, the heartbeat is only on its way
     * @throws ConnectException for a failure that waiting cannot mend
     */
    public function take(int $now, ?int $deadline): ?Connection
    {
        while (($connection = array_pop($this->idle)) !== null) {
            if ($connection->isSound($now, $deadline)) {
                return $this->busy[$connection->key] = $connection;
            }
            $connection->close();
        }
        while (count($this->busy) < $this->options->maxConnections && $now >= $this->connectAt) {
            $connection = $this->connect($now);
            if ($connection === null) {
                break;
            }
            if ($connection->isSound($now, $deadline)) {
                return $this->busy[$connection->key] = $connection;
            }
            // A socket kept from an earlier request, dead by now: its slot is open for a new one.
            $connection->close();
        }

        return null;
    }

    /** Takes a connection at rest back, or closes it if it is not to be used again. */
    public function give(Connection $connection): void
    {
        unset($this->busy[$connection->key]);
        if ($connection->retiring) {
            $connection->close();

            return;
        }
        $this->failures = 0;
        $now = hrtime(true);
        $connection->rest($now);
        $this->idle[] = $connection;
        if ($this->idle[0]->restedAt < $now - $this->idleTimeout) {
            array_shift($this->idle)->close();
        }
    }

    /** Closes a connection that is out of step. */
    public function drop(Connection $connection): void
    {
        unset($this->busy[$connection->key]);
        $connection->close();
    }

    /** Counts a new connection that ended before it took a request as one that failed. */
    public function connectFailed(): void
    {
        $this->connectAt = hrtime(true) + Backoff::nanos(++$this->failures);
    }

    public function isFull(): bool
    {
        return count($this->busy) >= $this->options->maxConnections;
    }

    /** When connecting may be tried again, as hrtime(true). */
    public function connectAt(): int
    {
        return $this->connectAt;
    }

    /** Why the last attempt to connect failed, null if it did not. */
    public function failure(): ?ConnectException
    {
        return $this->failure;
    }

    /** @return array{idle: int, busy: int} */
    public function counts(): array
    {
        return ['idle' => count($this->idle), 'busy' => count($this->busy)];
    }

    /**
     * Whether this is another process than the one that made the connections: a child must not speak on its
     * parent's sockets. The child's copies are closed, which the parent does not notice.
     */
    public function hasForked(): bool
    {
        if ($this->process === null || $this->process === getmypid()) {
            return false;
        }
        $this->process = getmypid();
        Uuid::forget();
        foreach ([...$this->idle, ...$this->busy] as $connection) {
            $connection->close();
        }
        $this->idle = $this->busy = [];

        return true;
    }

    /** Ends every connection; a persistent socket at rest stays for the next request. */
    public function close(): void
    {
        if ($this->hasForked()) {
            return;
        }
        foreach ($this->idle as $connection) {
            $connection->leave();
        }
        foreach ($this->busy as $connection) {
            $connection->close();
        }
        $this->idle = $this->busy = [];
    }

    private function connect(int $now): ?Connection
    {
        try {
            $connection = new Connection($this->connector->connect(), $this->options, $now);
        } catch (ConnectException $failure) {
            $this->failure = $failure;
            $this->connectFailed();
            $this->log->connectFailed($this->connector->address(), $failure, $this->failures);
            if (!$failure->isRetryable()) {
                throw $failure;
            }

            return null;
        }
        $this->failure = null;

        return $connection;
    }
}
