<?php

declare(strict_types=1);

namespace Jackfield;

use Jackfield\Call\Multiplexer;
use Jackfield\Pool\Pool;

use function array_values, hrtime, max;

/**
 * The part of a client that makes progress with its async calls and shows its state.
 */
abstract class AsyncLoop
{
    /** @internal */
    protected function __construct(
        protected readonly Pool $pool,
        protected readonly Multiplexer $multiplexer,
    ) {
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

    /** Ends the calls and connections of the parent if this process was forked meanwhile. */
    protected function leaveParent(): void
    {
        if ($this->pool->process !== Process::id()) {
            $this->multiplexer->abandonCallsOfParent();
        }
    }
}
