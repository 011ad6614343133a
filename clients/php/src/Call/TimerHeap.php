<?php

declare(strict_types=1);

namespace Jackfield\Call;

use function count;

/**
 * A heap of calls, ordered by the instant at which something is due for them.
 *
 * @internal
 */
final class TimerHeap
{
    /** The heap is rebuilt when it holds this many more calls than twice the pending ones. */
    private const SLACK = 1_024;

    /** @var \SplPriorityQueue<int, array{int, Call}> */
    private \SplPriorityQueue $heap;

    public function __construct()
    {
        $this->heap = new \SplPriorityQueue();
    }

    /**
     * Adds a call. Calls that have ended are removed when there are too many of them.
     *
     * @param int $at      an instant of hrtime(true), in nanoseconds
     * @param int $pending number of all calls without an outcome
     */
    public function add(int $at, Call $call, int $pending): void
    {
        if (count($this->heap) > 2 * $pending + self::SLACK) {
            $this->removeEnded();
        }

        $this->heap->insert([$at, $call], -$at);
    }

    /**
     * Returns the call with the earliest instant that has not ended, or null.
     */
    public function first(): ?Call
    {
        return $this->nextDue() === null ? null : $this->heap->top()[1];
    }

    /**
     * Returns the earliest instant, as hrtime(true), or null.
     */
    public function nextDue(): ?int
    {
        while (!$this->heap->isEmpty()) {
            [$at, $call] = $this->heap->top();
            if (!$call->hasEnded()) {
                return $at;
            }
            $this->heap->extract();
        }

        return null;
    }

    /**
     * Removes and returns the earliest call if it is due, or returns null.
     */
    public function extractDue(int $now): ?Call
    {
        $at = $this->nextDue();

        return $at !== null && $at <= $now ? $this->heap->extract()[1] : null;
    }

    private function removeEnded(): void
    {
        $old = $this->heap;
        $this->heap = new \SplPriorityQueue();

        while (!$old->isEmpty()) {
            [$at, $call] = $old->extract();
            if (!$call->hasEnded()) {
                $this->heap->insert([$at, $call], -$at);
            }
        }
    }
}
