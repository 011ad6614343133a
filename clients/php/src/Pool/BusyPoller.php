<?php

declare(strict_types=1);

namespace Jackfield\Pool;

use Jackfield\Transport\Transport;

/**
 * Polls for a reply for a short time before the caller sleeps (Options::$spin).
 *
 * Polling pays off if the reply arrives sooner than a sleeping process wakes up. After a poll
 * without a reply, the next polls are skipped: 2 after the first, and twice as many after each
 * further consecutive one, up to 64. Polling therefore costs next to nothing with a slow method or
 * on a machine without a free core.
 *
 * @internal
 */
final class BusyPoller
{
    /** At most 2 to this power polls are skipped at a time. */
    private const MAX_SKIP_EXPONENT = 6;

    /** Consecutive polls without a reply. */
    private int $misses = 0;

    /** Polls that are still to be skipped because of the misses. */
    private int $toSkip = 0;

    /** @param int $nanos duration of one poll, in nanoseconds */
    public function __construct(private readonly int $nanos)
    {
    }

    /**
     * Polls the transport and returns whether bytes, or the end of the connection, have arrived.
     *
     * @param int $deadline an instant of hrtime(true), in nanoseconds
     */
    public function poll(Transport $transport, int $deadline): bool
    {
        if ($this->toSkip > 0) {
            $this->toSkip--;

            return false;
        }

        $end = hrtime(true) + $this->nanos;
        $end = min($deadline, $end);
        do {
            if (!$transport->isQuiet()) {
                $this->misses = 0;

                return true;
            }
        } while (hrtime(true) < $end);

        $this->toSkip = 2 ** min(++$this->misses, self::MAX_SKIP_EXPONENT);

        return false;
    }
}
