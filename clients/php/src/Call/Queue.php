<?php

/**
 * Calls that are on no connection: those that wait for a place, and those that are to be sent again later.
 */

declare(strict_types=1);

namespace Jackfield\Call;

final class Queue
{
    /** @var array<string, Call> by id, in the order in which they came */
    private array $waiting = [];
    private Timetable $delayed;
    private int $bytes = 0;

    public function __construct()
    {
        $this->delayed = new Timetable();
    }

    public function add(Call $call): void
    {
        $this->waiting[$call->id] = $call;
        $this->bytes += strlen($call->frame);
    }

    /** @param int $at an instant of hrtime(true), nanoseconds */
    public function addLater(Call $call, int $at, int $alive): void
    {
        $this->delayed->add($at, $call, $alive);
    }

    /** The call whose turn it is, which stays here; null when none waits. */
    public function head(int $now): ?Call
    {
        while (($call = $this->delayed->due($now)) !== null) {
            $this->add($call);
        }
        // Not reset(): it would make a copy of an array that somebody walks through.
        $first = array_key_first($this->waiting);

        return $first === null ? null : $this->waiting[$first];
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

    /** Bytes of their frames. */
    public function bytes(): int
    {
        return $this->bytes;
    }

    /** When the next delayed call is due, as hrtime(true); null: never. */
    public function nextDue(): ?int
    {
        return $this->delayed->next();
    }

    public function clear(): void
    {
        $this->waiting = [];
        $this->bytes = 0;
        $this->delayed = new Timetable();
    }
}
