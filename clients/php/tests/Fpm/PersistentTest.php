<?php

/**
 * Persistent sockets under a real php-fpm: requests die at every byte of an exchange, and no reply is mixed up.
 */

declare(strict_types=1);

namespace Jackfield\Tests\Fpm;

use Jackfield\Tests\Support\DyingRequests;
use Jackfield\Tests\Support\PhpFpm;
use Jackfield\Tests\Support\ScriptedServer;
use Jackfield\Tests\Support\TestCase;

final class PersistentTest extends TestCase
{
    private PhpFpm $fpm;
    private DyingRequests $requests;

    protected function setUp(): void
    {
        parent::setUp();
        $this->fpm = PhpFpm::start($this->scratch) ?? self::markTestSkipped(PhpFpm::MISSING);
        $this->requests = new DyingRequests($this->fpm, $this->scratch);
    }

    protected function tearDown(): void
    {
        if (isset($this->fpm)) {
            $this->fpm->stop();
        }
        parent::tearDown();
    }

    public function testOneSocketServesManyRequests(): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        for ($i = 0; $i < 20; $i++) {
            $this->assertAllRight($server, ['calls' => 5, 'mode' => $i % 2 === 0 ? 'sync' : 'async']);
        }
        $report = $server->finish();
        self::assertCount(1, $report['connections']);
        $heartbeats = array_filter($report['connections'][0]['frames'], static fn (array $f): bool => $f['kind'] === 2);
        self::assertCount(19, $heartbeats, 'a socket from an earlier request is asked before it is used');
    }

    /** @return iterable<string, array{string, string}> */
    public static function deaths(): iterable
    {
        foreach (DyingRequests::WAYS as $how) {
            foreach (['sync', 'async'] as $mode) {
                yield "$how $mode" => [$how, $mode];
            }
        }
    }

    /** @dataProvider deaths */
    public function testARequestThatDiesAtAnyByte(string $how, string $mode): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        $whole = DyingRequests::exchangeBytes();
        for ($at = 0; $at <= $whole + 2; $at++) {
            $died = $this->requests->die($server->socket, $how, $at, ['mode' => $mode]);
            self::assertSame($at < $whole, $died, "whether it died by $how at byte $at");
            $this->assertAllRight($server, ['calls' => 2, 'mode' => $mode], "after $how at byte $at");
        }
        for ($calls = 0; $calls < 10_000; $calls += 500) {
            $this->assertAllRight($server, ['calls' => 500, 'mode' => $calls % 1_000 === 0 ? 'sync' : 'async']);
        }
        $connections = count($server->finish()['connections']);
        self::assertGreaterThanOrEqual($whole, $connections, 'sockets cut off were given up');
        self::assertLessThan($whole + 5, $connections, 'whole ones were kept');
    }

    /** The signal that stands in for the time limit above does what the limit itself does. */
    public function testTheTimeLimitItself(): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        foreach ([0, 40, DyingRequests::requestBytes(), DyingRequests::requestBytes() + 40] as $at) {
            self::assertTrue($this->requests->die($server->socket, 'time', $at, really: true));
            $this->assertAllRight($server, ['calls' => 20], "after the time limit at byte $at");
        }
    }

    /** @return iterable<string, array{array<string, int>, bool}> */
    public static function sockets(): iterable
    {
        yield 'as it is found: the fault that the tests above are to see' => [['naive' => 1], false];
        yield 'sealed' => [[], true];
    }

    /**
     * The host answers a dead request only when the next one has been sent: nothing waits to be read in between, so
     * that only a seal can tell.
     *
     * @dataProvider sockets
     * @param array<string, int> $query
     */
    public function testTheReplyToADeadRequestComesToTheNextOne(array $query, bool $right): void
    {
        $server = $this->play([
            [
                ['expect' => 'sync', 'as' => 'first'], ['reply' => 'first', 'echo' => true],
                ['expect' => 'sync', 'as' => 'dead'], ['expect' => 'sync', 'as' => 'next'],
                ['reply' => 'dead', 'echo' => true], ['reply' => 'next', 'echo' => true],
            ],
            [['serve' => 'fifo']],
        ]);
        self::assertSame([], $this->requests->run($server->socket, ['calls' => 1] + $query)['failed']);
        self::assertTrue($this->requests->die($server->socket, 'fatal', DyingRequests::requestBytes(), $query));
        $failed = $this->requests->run($server->socket, ['calls' => 1] + $query)['failed'];
        if ($right) {
            self::assertSame([], $failed);
        } else {
            self::assertCount(1, $failed);
            self::assertStringContainsString('ProtocolException', $failed[0]);
        }
    }

    public function testAHostThatWasRestartedBetweenRequests(): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        $this->assertAllRight($server, ['calls' => 3]);
        $server->kill();
        unlink($server->socket);
        $second = $this->playFile($this->scratch->path('script-0.json'), [], $server->socket);
        $this->assertAllRight($second, ['calls' => 3]);
    }

    /** @param array<string, string|int> $query */
    private function assertAllRight(ScriptedServer $server, array $query, string $when = ''): void
    {
        $outcome = $this->requests->run($server->socket, $query);
        self::assertSame([], $outcome['wrong'] ?? null, "$when " . json_encode($outcome) . $this->fpm->log());
        self::assertSame([], $outcome['failed'] ?? null, "$when " . json_encode($outcome));
    }
}
