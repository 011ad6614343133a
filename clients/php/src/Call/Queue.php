<?php

declare(strict_types=1);

namespace Jackfield\Call;

use function count, current;

/**
 * The calls without a connection: those that wait for one, and those whose retry is delayed.
 *
 * @internal
 */
final class Queue
{
    /** Bytes of the requests of the waiting calls. */
    public int $bytes = 0;

    /** @var list<Call> calls for which nobody has checked whether the host is down */
    public array $undecided = [];

    /**
     * @var array<string, Call> waiting calls by id, in the order of arrival. The internal pointer
     *                          stays at the first call, because only unset() moves it. Searching
     *                          from the front would pass the slot of every call removed before
     */
    private array $waiting = [];

    /** Calls whose retry is delayed; null until there is one. */
    private ?TimerHeap $delayed = null;

    public function add(Call $call): void
    {
        if (!isset($this->waiting[$call->id])) {
            $this->waiting[$call->id] = $call;
            $this->undecided[] = $call;
            $this->bytes += $call->size;
        }
    }

    /**
     * Adds a call that starts to wait at a later instant.
     *
     * @param int $at      an instant of hrtime(true), in nanoseconds
     * @param int $pending number of all calls without an outcome
     */
    public function addDelayed(Call $call, int $at, int $pending): void
    {
        $this->delayed ??= new TimerHeap();
        $this->delayed->add($at, $call, $pending);
    }

    /**
     * Returns the first waiting call without removing it, or null if no call waits.
     *
     * A call that is in flight or has ended is removed: a signal handler threw before it was.
     */
    public function head(int $now): ?Call
    {
        while ($this->delayed !== null && ($call = $this->delayed->extractDue($now)) !== null) {
            $this->add($call);
        }

        while (($call = current($this->waiting)) !== false) {
            if ($call->connection === null && $call->future !== null) {
                return $call;
            }
            $this->remove($call);
        }

        return null;
    }

    /**
     * Removes a call at any position.
     *
     * A call that is not waiting is ignored. An ended delayed call is skipped when it is due.
     */
    public function remove(Call $call): void
    {
        if (isset($this->waiting[$call->id])) {
            unset($this->waiting[$call->id]);
            $this->bytes -= $call->size;
        }
    }

    /**
     * Returns the number of waiting calls, without the delayed ones.
     */
    public function count(): int
    {
        return count($this->waiting);
    }

    /**
     * Returns when the next delayed call is due, as hrtime(true); null if there is none.
     */
    public function nextDue(): ?int
    {
        return $this->delayed?->nextDue();
    }

    public function clear(): void
    {
        $this->waiting = [];
        $this->undecided = [];
        $this->bytes = 0;
        $this->delayed = null;
    }
}
