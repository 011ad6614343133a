<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Options;
use Jackfield\Pool\Connection;
use Jackfield\Transport\StreamTransport;
use Jackfield\Wire\Header;
use PHPUnit\Framework\TestCase;

/**
 * Tests busy polling (Options::$spin): it avoids sleeping, and it stops if it does not help.
 */
final class BusyPollTest extends TestCase
{
    private const CALLS = 1_000;

    public function testReturnsAReplyThatArrivesWhilePollingWithoutWaiting(): void
    {
        $calls = $this->exchanges(spin: 0.01, pollsUntilReply: 3);
        $withoutWait = array_filter($calls, static fn (array $call): bool => $call[1] === 0);
        $polls = array_values(array_unique(array_column($withoutWait, 0)));
        self::assertSame([4], $polls, 'three polls without a reply, and the one that finds it');

        // If the system suspends the process for the polling time, this call and some after it
        // wait.
        self::assertGreaterThan(0.9 * self::CALLS, count($withoutWait));
    }

    public function testPollsRarelyAfterRepeatedMisses(): void
    {
        $calls = $this->exchanges(spin: 0.00001, pollsUntilReply: PHP_INT_MAX);
        self::assertSame(self::CALLS, array_sum(array_column($calls, 1)));

        $callsWithPolls = count(array_filter(array_column($calls, 0)));
        self::assertGreaterThan(self::CALLS / 100, $callsWithPolls, 'some calls still poll');
        self::assertLessThan(self::CALLS / 30, $callsWithPolls);
    }

    public function testDoesNotPollWithoutTheOption(): void
    {
        $calls = $this->exchanges(spin: 0.0, pollsUntilReply: 0);
        self::assertSame([0, self::CALLS], [array_sum(array_column($calls, 0)), array_sum(array_column($calls, 1))]);
    }

    /**
     * Makes calls and returns for each of them the number of polls and of waits for its reply.
     *
     * @return list<array{int, int}>
     */
    private function exchanges(float $spin, int $pollsUntilReply): array
    {
        $transport = new class ($pollsUntilReply) extends StreamTransport {
            public int $polls = 0;
            public int $waits = 0;
            private int $pollsOfCall = 0;

            public function __construct(private readonly int $pollsUntilReply)
            {
                parent::__construct(fopen('php://memory', 'r+'));
            }

            public function write(string $bytes, int $offset = 0): int
            {
                $this->pollsOfCall = 0;

                return strlen($bytes) - $offset;
            }

            public function isQuiet(): bool
            {
                $this->polls++;

                return $this->pollsOfCall++ < $this->pollsUntilReply;
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
            $transport->polls = 0;
            $transport->waits = 0;
            $connection->exchange('request', null, 'i', 'm', hrtime(true), hrtime(true) + 1_000_000_000);
            $calls[] = [$transport->polls, $transport->waits];
        }

        return $calls;
    }
}
