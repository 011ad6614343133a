<?php

declare(strict_types=1);

namespace Jackfield;

use Jackfield\Wire\Block;

use function unpack;

/**
 * How long the host needed for a request, and which plugin answered it.
 */
final class Timing
{
    /**
     * @param int $queuedMicros time from the acceptance of the request to the begin of the method,
     *                          in microseconds
     * @param int $runMicros    time from the begin of the method to its reply, in microseconds
     * @param int $generation   generation of the plugin that answered, 0 if none did
     */
    public function __construct(
        public readonly int $queuedMicros,
        public readonly int $runMicros,
        public readonly int $generation,
    ) {
    }

    /**
     * Decodes the timing in an extension block.
     *
     * @internal
     *
     * @param string $block FrameReader::$timing
     */
    public static function parse(string $block): ?self
    {
        if ($block === '') {
            return null;
        }
        [1 => $queued, 2 => $run, 3 => $generation] = unpack('N3', $block, Block::TIMING_OFFSET);

        return new self($queued, $run, $generation);
    }
}
