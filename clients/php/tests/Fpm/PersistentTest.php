<?php

/**
 * Persistent sockets under a real php-fpm: requests die at every byte of an exchange, and no reply is mixed up.
 */

declare(strict_types=1);

namespace Jackfield\Tests\Fpm;

use Jackfield\Tests\Support\PhpFpm;
use Jackfield\Tests\Support\ScriptedServer;
use Jackfield\Tests\Support\TestCase;

final class PersistentTest extends TestCase
{
    private const SCRIPT = __DIR__ . '/scripts/request.php';
    /** More bytes than a request and its reply have here: the last ones are cut off after the exchange. */
    private const EXCHANGE = 240;

    private PhpFpm $fpm;
    private ScriptedServer $server;

    protected function setUp(): void
    {
        parent::setUp();
        $fpm = PhpFpm::start($this->scratch);
        if ($fpm === null) {
            self::markTestSkipped('no php-fpm is installed');
        }
        $this->fpm = $fpm;
        $this->server = $this->play([[['serve' => 'fifo']]]);
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
        for ($i = 0; $i < 20; $i++) {
            $this->assertAllRight($this->request(['calls' => 5, 'mode' => $i % 2 === 0 ? 'sync' : 'async']));
        }
        $report = $this->server->finish();
        self::assertCount(1, $report['connections']);
        $heartbeats = array_filter($report['connections'][0]['frames'], static fn (array $f): bool => $f['kind'] === 2);
        self::assertCount(19, $heartbeats, 'a socket from an earlier request is asked before it is used');
    }

    /** @return iterable<string, array{string, string}> */
    public static function deaths(): iterable
    {
        foreach (['exit', 'fatal'] as $how) {
            foreach (['sync', 'async'] as $mode) {
                yield "$how $mode" => [$how, $mode];
            }
        }
    }

    /** @dataProvider deaths */
    public function testARequestThatDiesAtAnyByte(string $how, string $mode): void
    {
        for ($at = 0; $at <= self::EXCHANGE; $at++) {
            $this->request(['calls' => 1, 'at' => $at, 'how' => $how, 'mode' => $mode, 'unchecked' => 1]);
            $this->assertAllRight($this->request(['calls' => 2, 'mode' => $mode]), "after $how at byte $at");
        }
        for ($calls = 0; $calls < 10_000; $calls += 500) {
            $this->assertAllRight($this->request(['calls' => 500, 'mode' => $calls % 1_000 === 0 ? 'sync' : 'async']));
        }
        $connections = count($this->server->finish()['connections']);
        self::assertGreaterThan(self::EXCHANGE / 2, $connections, 'sockets cut off were given up');
        self::assertLessThan(self::EXCHANGE + 10, $connections, 'whole ones were kept');
    }

    public function testRequestsEndedByTheTimeLimitByTheVisitorAndByAKill(): void
    {
        foreach ([0, 40, 130, 180] as $at) {
            $query = ['calls' => 1, 'at' => $at, 'unchecked' => 1];
            $this->request($query + ['how' => 'time']);
            $this->assertAllRight($this->request(['calls' => 20]), "after the time limit at byte $at");

            fclose($this->fpm->cgi->start(self::SCRIPT, $query + ['how' => 'abort', 'socket' => $this->server->socket]));
            $this->assertAllRight($this->request(['calls' => 20]), "after an abort at byte $at");

            $this->request($query + ['how' => 'kill']);
            $this->assertAllRight($this->request(['calls' => 20]), "after a kill at byte $at");
        }
    }

    /** The harness sees what it is for: a socket used as it is found gives one request the reply of another. */
    public function testSocketsWithoutASealAreMixedUp(): void
    {
        $naive = ['naive' => 1, 'unchecked' => 1];
        self::assertSame([], $this->request(['calls' => 1] + $naive)['failed']);
        $this->request(['calls' => 1, 'at' => 150, 'how' => 'fatal'] + $naive);
        $failed = $this->request(['calls' => 1] + $naive)['failed'];
        self::assertCount(1, $failed);
        self::assertStringContainsString('ProtocolException', $failed[0]);
    }

    public function testAHostThatWasRestartedBetweenRequests(): void
    {
        $this->assertAllRight($this->request(['calls' => 3]));
        $socket = $this->server->socket;
        $this->server->kill();
        unlink($socket);
        $this->server = $this->playFile($this->scratch->path('script-0.json'), [], $socket);
        $this->assertAllRight($this->request(['calls' => 3]));
    }

    /**
     * @param array<string, string|int> $query
     * @return array<string, mixed> what the request printed; empty when it died
     */
    private function request(array $query): array
    {
        $body = $this->fpm->cgi->get(self::SCRIPT, $query + ['socket' => $this->server->socket]);

        return json_decode($body, true) ?? ['died' => true, 'body' => $body];
    }

    /** @param array<string, mixed> $outcome */
    private function assertAllRight(array $outcome, string $when = ''): void
    {
        self::assertSame([], $outcome['wrong'] ?? null, "$when " . json_encode($outcome) . $this->fpm->log());
        self::assertSame([], $outcome['failed'] ?? null, "$when " . json_encode($outcome));
    }
}
