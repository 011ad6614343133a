<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Pool\Connection;
use Jackfield\Transport\StreamTransport;

use function count, hrtime, intdiv, max, min, usleep;

/**
 * The connections on which async calls are in flight.
 *
 * @internal
 */
final class ActiveConnections
{
    /** Maximum duration of one sleep without connections, in microseconds; callers wait again. */
    private const MAX_SLEEP_MICROS = 1_000_000;

    /** @var array<int, Connection> connections by key */
    public array $all = [];

    /** @param int $maxInFlight maximum number of async calls on one connection */
    public function __construct(private readonly int $maxInFlight)
    {
    }

    /** Returns the first connection that takes more calls. Further ones are used if it is full. */
    public function withCapacity(): ?Connection
    {
        foreach ($this->all as $connection) {
            $inFlight = count($connection->inFlight) + count($connection->withdrawn);
            if (
                !$connection->acceptsNoCalls
                && $connection->heartbeatDeadline === null
                && $inFlight < $this->maxInFlight
                && $inFlight < $connection->negotiation->maxInFlight
            ) {
                return $connection;
            }
        }

        return null;
    }

    /** Returns when the first heartbeat in flight times out, as hrtime(true); null if none is. */
    public function heartbeatDeadline(): ?int
    {
        $first = null;
        foreach ($this->all as $connection) {
            $deadline = $connection->heartbeatDeadline;
            if ($deadline !== null && ($first === null || $deadline < $first)) {
                $first = $deadline;
            }
        }

        return $first;
    }

    /**
     * Returns the streams to wait for, by the keys of their connections.
     *
     * @return array{read: array<int, resource>, write: array<int, resource>}
     */
    public function streams(): array
    {
        $streams = ['read' => [], 'write' => []];
        foreach ($this->all as $key => $connection) {
            $streams['read'][$key] = $connection->stream();
            if ($connection->unsentBytes > 0) {
                $streams['write'][$key] = $streams['read'][$key];
            }
        }

        return $streams;
    }

    /**
     * Waits until a stream is ready, and returns those that are.
     *
     * @param int $until until when to wait, as hrtime(true)
     *
     * @return array{read: array<int, resource>, write: array<int, resource>}
     */
    public function wait(int $until): array
    {
        ['read' => $read, 'write' => $write] = $this->streams();
        $now = hrtime(true);
        $remaining = max(0, $until - $now);

        if ($read !== []) {
            StreamTransport::select($read, $write, $remaining);
        } elseif ($remaining > 0) {
            $micros = intdiv($remaining + 999, 1_000);
            $micros = min($micros, self::MAX_SLEEP_MICROS);
            usleep($micros);
        }

        return ['read' => $read, 'write' => $write];
    }
}
