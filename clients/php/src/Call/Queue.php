<?php

/**
 * Calls that are on no connection: those that wait for a place, and those that are to be sent again later.
 */

declare(strict_types=1);

namespace Jackfield\Call;

use function count, current, strlen;

final class Queue
{
    /** Bytes of the frames of calls that wait for a place. */
    public int $bytes = 0;
    /**
     * @var array<string, Call> by id, in the order in which they came. Its internal pointer, which nothing moves but
     *                          taking calls out, stands at the first: looking for it from the front would meet the
     *                          place of every call taken out before
     */
    private array $waiting = [];
    /** Null until a call is to be sent again later. */
    private ?Timetable $delayed = null;

    public function add(Call $call): void
    {
        $this->waiting[$call->id] = $call;
        $this->bytes += strlen($call->frame);
    }

    /** @param int $at an instant of hrtime(true), nanoseconds */
    public function addLater(Call $call, int $at, int $alive): void
    {
        $this->delayed ??= new Timetable();
        $this->delayed->add($at, $call, $alive);
    }

    /** The call whose turn it is, which stays here; null when none waits. */
    public function head(int $now): ?Call
    {
        while ($this->delayed !== null && ($call = $this->delayed->due($now)) !== null) {
            $this->add($call);
        }

        return current($this->waiting) ?: null;
    }

    /** Takes a call out, wherever it stands. One that is not here is no fault: delayed calls are skipped when due. */
    public function remove(Call $call): void
    {
        if (isset($this->waiting[$call->id])) {
            unset($this->waiting[$call->id]);
            $this->bytes -= strlen($call->frame);
        }
    }

    /** Calls that wait for a place. */
    public function count(): int
    {
        return count($this->waiting);
    }

    /** When the next delayed call is due, as hrtime(true); null: never. */
    public function nextDue(): ?int
    {
        return $this->delayed?->next();
    }

    public function clear(): void
    {
        $this->waiting = [];
        $this->bytes = 0;
        $this->delayed = null;
    }
}
