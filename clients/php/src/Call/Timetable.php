<?php

/**
 * Calls by the instant at which something is due for them, the earliest first.
 */

declare(strict_types=1);

namespace Jackfield\Call;

use function count;

final class Timetable
{
    /** Calls that ended early stay in the heap until it holds this many more than are alive. */
    private const SLACK = 1_024;

    /** @var \SplPriorityQueue<int, array{int, Call}> */
    private \SplPriorityQueue $heap;

    public function __construct()
    {
        $this->heap = new \SplPriorityQueue();
    }

    /**
     * @param int $at    an instant of hrtime(true), nanoseconds
     * @param int $alive calls not ended, in all
     */
    public function add(int $at, Call $call, int $alive): void
    {
        if (count($this->heap) > 2 * $alive + self::SLACK) {
            $this->rebuild();
        }
        $this->heap->insert([$at, $call], -$at);
    }

    /** The first call that has not ended; null when there is none. */
    public function first(): ?Call
    {
        return $this->next() === null ? null : $this->heap->top()[1];
    }

    /** Its instant; null when there is none. */
    public function next(): ?int
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

    /** Takes the first call that is due, or null. */
    public function due(int $now): ?Call
    {
        $at = $this->next();

        return $at !== null && $at <= $now ? $this->heap->extract()[1] : null;
    }

    private function rebuild(): void
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
