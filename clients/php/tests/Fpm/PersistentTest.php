<?php

declare(strict_types=1);

namespace Jackfield\Tests\Fpm;

use Jackfield\Tests\Support\PhpFpm;
use Jackfield\Tests\Support\ScriptedServer;
use Jackfield\Tests\Support\TerminatedRequests;
use Jackfield\Tests\Support\TestCase;

/**
 * Tests persistent sockets under a real php-fpm.
 *
 * Requests are terminated at every byte of an exchange, and no later request receives a wrong
 * reply.
 */
final class PersistentTest extends TestCase
{
    private PhpFpm $fpm;
    private TerminatedRequests $requests;

    protected function setUp(): void
    {
        parent::setUp();
        $this->fpm = PhpFpm::start($this->scratch) ?? self::markTestSkipped(PhpFpm::MISSING);
        $this->requests = new TerminatedRequests($this->fpm, $this->scratch);
    }

    protected function tearDown(): void
    {
        if (isset($this->fpm)) {
            $this->fpm->stop();
        }
        parent::tearDown();
    }

    public function testManyRequestsReuseOneSocket(): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        for ($i = 0; $i < 20; $i++) {
            $this->assertCallsSucceed($server, ['calls' => 5, 'mode' => $i % 2 === 0 ? 'sync' : 'async']);
        }

        $report = $server->finish();
        self::assertCount(1, $report['connections']);
        $heartbeats = array_filter($report['connections'][0]['frames'], static fn (array $f): bool => $f['kind'] === 2);
        self::assertCount(20, $heartbeats, 'each request says hello once, and sends no other heartbeat');
    }

    /** @return iterable<string, array{string, string}> */
    public static function terminations(): iterable
    {
        foreach (TerminatedRequests::WAYS as $way) {
            foreach (['sync', 'async'] as $mode) {
                yield "$way $mode" => [$way, $mode];
            }
        }
    }

    /** @dataProvider terminations */
    public function testNoReplyIsMixedUpAfterARequestTerminatesAtAnyByte(string $way, string $mode): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        $exchangeBytes = TerminatedRequests::exchangeBytes();

        for ($at = 0; $at <= $exchangeBytes + 2; $at++) {
            $terminated = $this->requests->terminate($server->socket, $way, $at, ['mode' => $mode]);
            self::assertSame($at < $exchangeBytes, $terminated, "terminated by $way at byte $at");
            $this->assertCallsSucceed($server, ['calls' => 2, 'mode' => $mode], "after $way at byte $at");
        }
        for ($calls = 0; $calls < 10_000; $calls += 500) {
            $this->assertCallsSucceed($server, ['calls' => 500, 'mode' => $calls % 1_000 === 0 ? 'sync' : 'async']);
        }

        $connections = count($server->finish()['connections']);
        self::assertGreaterThanOrEqual($exchangeBytes, $connections, 'interrupted sockets were closed');
        self::assertLessThan($exchangeBytes + 5, $connections, 'clean sockets were kept');
    }

    /**
     * The test above sends the signal of the time limit itself. Here PHP's own time limit expires.
     */
    public function testNoReplyIsMixedUpAfterPhpsTimeLimit(): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        $requestBytes = TerminatedRequests::requestBytes();
        foreach ([0, 40, $requestBytes, $requestBytes + 40] as $at) {
            self::assertTrue($this->requests->terminate($server->socket, 'time', $at, awaitKernel: true));
            $this->assertCallsSucceed($server, ['calls' => 20], "after the time limit at byte $at");
        }
    }

    /** @return iterable<string, array{array<string, int>, bool}> */
    public static function connectors(): iterable
    {
        yield 'without a marker: shows that the tests detect a wrong reply' => [['unchecked' => 1, 'no_hello' => 1], false];
        yield 'with the clean marker' => [[], true];
    }

    /**
     * The host answers the terminated request only after the next one was sent. No byte waits to be
     * read in between, so only the marker reveals the outstanding reply.
     *
     * @dataProvider connectors
     *
     * @param array<string, int> $query
     */
    public function testOnlyTheMarkerKeepsALateReplyFromTheNextRequest(array $query, bool $succeeds): void
    {
        $server = $this->play([
            [
                ['expect' => 'sync', 'as' => 'first'], ['reply' => 'first', 'echo' => true],
                ['expect' => 'sync', 'as' => 'terminated'], ['expect' => 'sync', 'as' => 'next'],
                ['reply' => 'terminated', 'echo' => true], ['reply' => 'next', 'echo' => true],
            ],
            [['serve' => 'fifo']],
        ]);

        self::assertSame([], $this->requests->run($server->socket, ['calls' => 1] + $query)['failed']);
        $helloBytes = isset($query['no_hello']) ? strlen(TerminatedRequests::hello()) : 0;
        $requestBytes = TerminatedRequests::requestBytes() - $helloBytes;
        self::assertTrue($this->requests->terminate($server->socket, 'fatal', $requestBytes, $query));

        $failed = $this->requests->run($server->socket, ['calls' => 1] + $query)['failed'];
        if ($succeeds) {
            self::assertSame([], $failed);
        } else {
            self::assertCount(1, $failed);
            self::assertStringContainsString('ProtocolException', $failed[0]);
        }
    }

    public function testReconnectsAfterTheHostWasRestartedBetweenRequests(): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        $this->assertCallsSucceed($server, ['calls' => 3]);
        $server->kill();
        unlink($server->socket);

        $second = $this->playFile($this->scratch->path('script-0.json'), [], $server->socket);
        $this->assertCallsSucceed($second, ['calls' => 3]);
    }

    /** @param array<string, string|int> $query */
    private function assertCallsSucceed(ScriptedServer $server, array $query, string $when = ''): void
    {
        $report = $this->requests->run($server->socket, $query);
        self::assertSame([], $report['wrong'] ?? null, "$when " . json_encode($report) . $this->fpm->log());
        self::assertSame([], $report['failed'] ?? null, "$when " . json_encode($report));
    }
}
