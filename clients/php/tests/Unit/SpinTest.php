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
        $seen = array_filter($this->exchanges(spin: 0.01, looksUntilThere: 3), static fn (array $call): bool => $call[1] === 0);
        self::assertSame([4], array_values(array_unique(array_column($seen, 0))), 'three in vain, and the one that sees it');
        // A machine that takes the core away for as long as a call may look makes it wait, and some after it.
        self::assertGreaterThan(0.9 * self::CALLS, count($seen));
    }

    public function testAMethodThatIsSlowIsSoonNotLookedAt(): void
    {
        $calls = $this->exchanges(spin: 0.00001, looksUntilThere: PHP_INT_MAX);
        self::assertSame(self::CALLS, array_sum(array_column($calls, 1)));
        $callsWithLooks = count(array_filter(array_column($calls, 0)));
        self::assertGreaterThan(self::CALLS / 100, $callsWithLooks, 'but now and then, in case it is fast again');
        self::assertLessThan(self::CALLS / 30, $callsWithLooks);
    }

    public function testWithoutTheOptionNobodyLooks(): void
    {
        $calls = $this->exchanges(spin: 0.0, looksUntilThere: 0);
        self::assertSame([0, self::CALLS], [array_sum(array_column($calls, 0)), array_sum(array_column($calls, 1))]);
    }

    /** @return list<array{int, int}> of each call the looks for its reply, and the waits for it */
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
        $calls = [];
        for ($i = 0; $i < self::CALLS; $i++) {
            $transport->looks = $transport->waits = 0;
            $connection->exchange('request', 'i', hrtime(true) + 1_000_000_000);
            $calls[] = [$transport->looks, $transport->waits];
        }

        return $calls;
    }
}
