<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Transport\Outage;
use PHPUnit\Framework\TestCase;

/**
 * Tests which calls wait for a host that is down, with a clock of the test.
 */
final class OutageTest extends TestCase
{
    private const SECOND = 1_000_000_000;

    private Outage $outage;
    private int $now;

    protected function setUp(): void
    {
        $this->outage = new Outage('address ' . bin2hex(random_bytes(8)));
        // Near the end of the range of the stored instants.
        $this->now = 0x0FFFFFFF * 1_000_000 - 2 * self::SECOND;
    }

    public function testTheFirstTwoCallsWait(): void
    {
        self::assertSame([true, true, false, false], [$this->wait(), $this->wait(), $this->wait(), $this->wait()]);
    }

    public function testOneCallASecondWaits(): void
    {
        $this->wait();
        $this->wait();
        for ($second = 0; $second < 5; $second++) {
            $this->now += self::SECOND - 100_000_000;
            self::assertFalse($this->outage->mayWait($this->now));
            $this->now += 100_000_000;
            self::assertTrue($this->outage->mayWait($this->now), 'the trial');
            self::assertFalse($this->outage->mayWait($this->now), 'one at a time');
        }
    }

    public function testASuccessBetweenTwoFailuresEndsTheCount(): void
    {
        for ($round = 0; $round < 3; $round++) {
            self::assertTrue($this->wait());
            $this->outage->clear();
        }
        $this->wait();
        $this->wait();
        $this->outage->clear();
        self::assertTrue($this->wait());
    }

    public function testCallsThatWaitAtTheSameTimeCountAsOne(): void
    {
        $started = $this->now;
        $this->now += self::SECOND;
        for ($call = 0; $call < 10; $call++) {
            $this->outage->recordWait($started, $this->now);
            $this->now += 1_000_000;
        }

        self::assertTrue($this->outage->mayWait($this->now));
        $this->outage->recordWait($this->now, $this->now + self::SECOND);
        self::assertFalse($this->outage->mayWait($this->now + self::SECOND));
    }

    public function testAddressesAreIndependent(): void
    {
        $this->wait();
        $this->wait();
        self::assertTrue((new Outage('another'))->mayWait($this->now));
    }

    public function testAChildStartsAnew(): void
    {
        $this->wait();
        $this->wait();
        $pid = pcntl_fork();
        if ($pid === 0) {
            // The exit status reports the result without PHP's shutdown.
            posix_kill(getmypid(), $this->outage->mayWait($this->now) ? SIGTERM : SIGKILL);
        }

        pcntl_waitpid($pid, $status);
        self::assertSame(SIGTERM, pcntl_wtermsig($status));
    }

    /** Waits in vain for one second if a call may wait, and returns whether it may. */
    private function wait(): bool
    {
        $started = $this->now;
        if (!$this->outage->mayWait($started)) {
            return false;
        }
        $this->now += self::SECOND;
        $this->outage->recordWait($started, $this->now);

        return true;
    }
}
