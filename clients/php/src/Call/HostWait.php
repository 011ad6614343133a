<?php

declare(strict_types=1);

namespace Jackfield\Call;

use Jackfield\Pool\Pool;

/**
 * The wait of queued async calls for a host that is down (Options::$connectTimeout).
 *
 * @internal
 */
final class HostWait
{
    public function __construct(
        private readonly Queue $queue,
        private readonly ActiveConnections $active,
        private readonly Pool $pool,
        private readonly OutcomeHandler $outcomes,
        private readonly Multiplexer $multiplexer,
    ) {
    }

    /** Returns whether no connection is in use and the last attempt to connect failed. */
    public function isHostDown(): bool
    {
        return $this->active->all === [] && $this->pool->isHostDown();
    }

    /** Returns when the wait of the first call ends, as hrtime(true); null if none waits. */
    public function nextDue(): ?int
    {
        $call = $this->isHostDown() ? $this->queue->head(0) : null;

        return $call === null ? null : $this->pool->connectDeadline($call->started);
    }

    /** Ends the calls that may not wait for the host, and those that have waited long enough. */
    public function endDue(int $now): void
    {
        $undecided = $this->queue->undecided;
        if ($undecided !== []) {
            $mayWait = !$this->isHostDown() || $this->pool->mayWaitForHost($now);
            $this->queue->undecided = [];
            foreach ($mayWait ? [] : $undecided as $call) {
                if ($call->connection === null && $call->future !== null) {
                    $this->end($call);
                }
            }
        }

        while (
            $this->isHostDown() && ($call = $this->queue->head($now)) !== null
            && $this->pool->connectDeadline($call->started) <= $now
        ) {
            $this->pool->recordWait($call->started);
            $this->end($call);
        }
    }

    /** Ends a queued call because no connection can be made. */
    public function end(Call $call): void
    {
        $failure = $this->outcomes->connectFailure($call);
        $this->queue->remove($call);
        $this->multiplexer->end($call, null, $failure);
    }
}
