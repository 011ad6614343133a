<?php

/**
 * Looking for a reply without going to sleep: worth it where the reply comes sooner than a sleeper wakes up.
 *
 * Where it was in vain it is left out the next times, twice as many after each, so that a slow method, or a machine
 * without a free core, pays next to nothing.
 */

declare(strict_types=1);

namespace Jackfield\Pool;

use Jackfield\Transport\Transport;

final class Spin
{
    /** At most two to this power are left out at once. */
    private const SKIP_EXPONENT = 6;

    /** Those in a row that saw nothing, and how many are still left out on account of them. */
    private int $inVain = 0;
    private int $skip = 0;

    /** @param int $nanos for which it looks */
    public function __construct(private readonly int $nanos)
    {
    }

    /**
     * Whether something has come.
     *
     * @param int $deadline an instant of hrtime(true), nanoseconds
     */
    public function sees(Transport $transport, int $deadline): bool
    {
        if ($this->skip > 0) {
            $this->skip--;

            return false;
        }
        $until = min($deadline, hrtime(true) + $this->nanos);
        do {
            if (!$transport->isQuiet()) {
                $this->inVain = 0;

                return true;
            }
        } while (hrtime(true) < $until);
        $this->skip = 2 ** min(++$this->inVain, self::SKIP_EXPONENT);

        return false;
    }
}
