<?php

/**
 * Looking for a reply without sleeping: where it pays, and how little it costs where it does not.
 */

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Options;
use Jackfield\Pool\Connection;
use Jackfield\Transport\StreamTransport;
use Jackfield\Wire\Header;
use PHPUnit\Framework\TestCase;

final class SpinTest extends TestCase
{
    private const CALLS = 1_000;

    public function testAReplyThatIsThereInTimeIsNotWaitedFor(): void
    {
        [$looks, $waits] = $this->exchanges(spin: 0.01, looksUntilThere: 3);
        self::assertSame(4 * self::CALLS, $looks, 'three in vain, and the one that sees it');
        self::assertSame(0, $waits);
    }

    public function testAMethodThatIsSlowIsSoonNotLookedAt(): void
    {
        [$looks, $waits, $callsWithLooks] = $this->exchanges(spin: 0.00001, looksUntilThere: PHP_INT_MAX);
        self::assertSame(self::CALLS, $waits);
        self::assertGreaterThan(self::CALLS / 100, $callsWithLooks, 'but now and then, in case it is fast again');
        self::assertLessThan(self::CALLS / 30, $callsWithLooks);
    }

    public function testWithoutTheOptionNobodyLooks(): void
    {
        [$looks, $waits] = $this->exchanges(spin: 0.0, looksUntilThere: 0);
        self::assertSame([0, self::CALLS], [$looks, $waits]);
    }

    /** @return array{int, int, int} looks for a reply, waits for one, and calls with a look */
    private function exchanges(float $spin, int $looksUntilThere): array
    {
        $transport = new class ($looksUntilThere) extends StreamTransport {
            public int $looks = 0;
            public int $waits = 0;
            private int $looked = 0;

            public function __construct(private readonly int $looksUntilThere)
            {
                parent::__construct(fopen('php://memory', 'r+'));
            }

            public function write(string $bytes, int $offset = 0): int
            {
                $this->looked = 0;

                return strlen($bytes) - $offset;
            }

            public function isQuiet(): bool
            {
                $this->looks++;

                return $this->looked++ < $this->looksUntilThere;
            }

            public function wait(bool $orWrite, int $deadline): bool
            {
                $this->waits++;

                return true;
            }

            public function read(): string
            {
                return Header::frame(Header::SYNC, '{"id":"i","result":1}');
            }
        };
        $connection = new Connection($transport, new Options(spin: $spin), hrtime(true));
        $callsWithLooks = 0;
        for ($i = 0; $i < self::CALLS; $i++) {
            $before = $transport->looks;
            $connection->exchange('request', 'i', hrtime(true) + 1_000_000_000);
            $callsWithLooks += (int) ($transport->looks > $before);
        }

        return [$transport->looks, $transport->waits, $callsWithLooks];
    }
}
