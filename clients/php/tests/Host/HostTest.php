<?php

declare(strict_types=1);

namespace Jackfield\Tests\Host;

use Jackfield\Client;
use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\TimeoutException;
use Jackfield\Options;
use Jackfield\Tests\Support\JackfieldHost;
use Jackfield\Tests\Support\Peer;
use Jackfield\Tests\Support\PhpFpm;
use Jackfield\Tests\Support\TerminatedRequests;
use Jackfield\Tests\Support\TestCase;
use Jackfield\Tests\Support\Wait;
use Jackfield\Wire\Code;
use Jackfield\Wire\Header;

/**
 * Tests the client with the real host: many calls, limits, restarts, persistent sockets.
 */
final class HostTest extends TestCase
{
    /** Calls in flight when the host is restarted. */
    private const MANY = 1_200;

    private ?JackfieldHost $host = null;

    protected function tearDown(): void
    {
        $this->host?->stop();
        $this->host = null;
        parent::tearDown();
    }

    public function testCallsTheBuiltInMethods(): void
    {
        $client = $this->connect();
        self::assertContains('system.echo', $client->call('system.methods'));
        $value = [
            'text' => "größe \u{2028} \0",
            'numbers' => [1, -1, 1.5, 0.1],
            'nothing' => null,
            'list' => [[], [1]],
        ];
        self::assertSame($value, $client->call('system.echo', $value));
        self::assertSame($value, $client->callAsync('system.echo', $value)->await());
        self::assertSame([18_446_744_073_709], $client->call('system.echo', [18_446_744_073_709]));
        self::assertGreaterThan(0.0, $client->ping());
        foreach ([fn () => $client->call('no.such'), fn () => $client->callAsync('no.such')->await()] as $call) {
            self::assertSame(Code::METHOD_NOT_FOUND, self::thrown(RemoteException::class, $call)->getCode());
        }
        self::assertCount(1, array_filter([array_sum($client->connections())]), 'errors close no connection');
    }

    public function testAnswersThreeThousandConcurrentAsyncCalls(): void
    {
        $client = $this->connect(timeout: 60.0);
        $futures = [];
        for ($i = 0; $i < 3_000; $i++) {
            $futures[] = $client->callAsync('system.echo', ['i' => $i, 'pad' => str_repeat('x', $i % 500)]);
        }
        foreach ($futures as $i => $future) {
            self::assertSame($i, $future->await()['i']);
        }
        self::assertSame(0, $client->connections()['busy']);
    }

    public function testTwelveHundredCallsWaitAtTheHost(): void
    {
        $client = $this->connect(['device'], timeout: 60.0);
        $reports = [];
        for ($i = 0; $i < 1_200; $i++) {
            $reports["d$i"] = $client->callAsync('device.report', ['deviceId' => "d$i", 'withinMs' => 50_000]);
        }

        $client->tick();
        self::assertSame(1_200, $client->pending(), 'all calls wait at the host for an update');

        // A report that the host starts after an update waits for the next update.
        while ($reports !== []) {
            $updates = [];
            foreach ($reports as $id => $_) {
                $updates[] = ['device.status.update', ['deviceId' => $id, 'status' => 'online']];
            }
            $client->batch($updates);
            foreach ($reports as $id => $report) {
                if ($report->isDone()) {
                    self::assertSame([$id, 'online'], [$report->await()['deviceId'], $report->await()['status']]);
                    unset($reports[$id]);
                }
            }
        }
    }

    public function testAnswersLargeRequestsAndReportsThoseAboveTheLimit(): void
    {
        $client = $this->connect(timeout: 60.0, maxConnections: 1);
        $large = str_repeat('x', 8 << 20);
        self::assertSame($large, $client->call('system.echo', $large));
        $tooLarge = str_repeat('x', 17 << 20);
        $calls = [
            fn () => $client->call('system.echo', $tooLarge),
            fn () => $client->callAsync('system.echo', $tooLarge)->await(),
        ];
        foreach ($calls as $call) {
            self::assertSame(Code::FRAME_TOO_LARGE, self::thrown(RemoteException::class, $call)->getCode());
        }

        $right = 0;
        $pad = str_repeat('y', 100_000);
        for ($i = 0; $i < 1_000; $i++) {
            $client->callAsync('system.echo', [$i, $pad])->then(
                static function (array $result) use ($i, $pad, &$right): void {
                    $right += (int) ($result === [$i, $pad]);
                }
            );
        }

        $client->run();
        self::assertSame(1_000, $right);
    }

    public function testIgnoresALateReply(): void
    {
        $client = $this->connect(['device']);
        $other = Client::connect($this->host->address);
        for ($i = 0; $i < 5; $i++) {
            $report = ['deviceId' => 'x', 'withinMs' => 20_000];
            self::thrown(TimeoutException::class, fn () => $client->call('device.report', $report, timeout: 0.05));
            $late = $client->callAsync('device.report', $report, timeout: 0.05);
            self::thrown(TimeoutException::class, $late->await(...));
            // The update makes the host answer both calls, which have already timed out.
            $other->call('device.status.update', ['deviceId' => 'x', 'status' => 'online']);
            for ($n = 0; $n < 50; $n++) {
                self::assertSame([$i, $n], $client->call('system.echo', [$i, $n]));
            }
        }
    }

    /** @return iterable<string, array{int}> */
    public static function signals(): iterable
    {
        yield 'orderly' => [SIGTERM];
        yield 'crash' => [SIGKILL];
    }

    /** @dataProvider signals */
    public function testLosesNoCallAndRunsNoneTwiceIfTheHostRestarts(int $signal): void
    {
        $client = $this->connect(['journal'], timeout: 40.0, maxInFlightPerConnection: 64);
        $calls = [];
        for ($i = 0; $i < self::MANY; $i++) {
            $idempotent = $i % 2 === 0;
            $calls[$i] = [$idempotent, $client->callAsync(
                'journal.append',
                ['topic' => 't', 'entry' => $i],
                idempotent: $idempotent
            )];
        }

        $journal = $this->scratch->path('journal/t.jsonl');
        Wait::until(static fn (): bool => is_file($journal) && filesize($journal) > 0, 'the first call has run');
        self::assertSame(self::MANY, $client->pending(), 'no call has an outcome yet');
        $this->host->stop($signal);
        $this->host->launch();

        $succeeded = [];
        $failed = [];
        foreach ($calls as $i => [$idempotent, $future]) {
            try {
                $future->await();
                $succeeded[] = $i;
            } catch (JackfieldException $failure) {
                self::assertFalse($idempotent, "an idempotent call failed: $failure");
                self::assertInstanceOf(ConnectionLostException::class, $failure, 'the only allowed failure');
                $failed[$i] = $failure;
            }
        }

        self::assertSame(self::MANY, count($succeeded) + count($failed));
        $ran = array_count_values(array_map(intval(...), file($journal)));
        foreach ($succeeded as $i) {
            self::assertArrayHasKey($i, $ran, "call $i was answered but did not run");
        }

        foreach ($calls as $i => [$idempotent]) {
            if (!$idempotent) {
                self::assertLessThanOrEqual(1, $ran[$i] ?? 0, "call $i ran twice");
            }
        }

        foreach ($failed as $i => $failure) {
            self::assertTrue(!$failure->isRetryable() || !isset($ran[$i]), "call $i ran but is retryable: $failure");
        }

        self::assertSame(['after'], $client->call('system.echo', ['after']));
    }

    /**
     * The host has started every one of these calls. None can end, because no update arrives.
     *
     * @dataProvider signals
     */
    public function testRetriesOnlyIdempotentStartedCallsIfTheHostRestarts(int $signal): void
    {
        $client = $this->connect(['device'], timeout: 60.0, maxInFlightPerConnection: 60);
        $idempotent = [];
        $others = [];
        for ($i = 0; $i < self::MANY / 2; $i++) {
            $params = ['deviceId' => "d$i", 'withinMs' => 50_000];
            $idempotent["d$i"] = $client->callAsync('device.report', $params, idempotent: true);
            $others["d$i"] = $client->callAsync('device.report', $params);
        }

        $client->tick();

        // Calls that a stopping host has not started are always retried. So all have to be started.
        $observer = Client::connect($this->host->address);
        $started = static fn (): int => $observer->call('system.info')['counts']['in_flight'];
        Wait::until(
            static fn (): bool => $started() >= self::MANY,
            'all calls have started',
            static fn (): string => "{$started()}"
        );
        self::assertSame(self::MANY, $client->pending());
        $this->host->stop($signal);
        $this->host->launch();
        foreach ($others as $id => $future) {
            // Lost in a crash, or answered by a host whose drain time had passed: neither is safe
            // to send again.
            $failure = self::thrown(JackfieldException::class, $future->await(...));
            self::assertFalse($failure->isRetryable(), "$id: $failure");
        }

        while ($idempotent !== []) {
            $updates = [];
            foreach ($idempotent as $id => $_) {
                $updates[] = ['device.status.update', ['deviceId' => $id, 'status' => 'online']];
            }
            $client->batch($updates);
            foreach ($idempotent as $id => $future) {
                if ($future->isDone()) {
                    self::assertSame([$id, 'online'], [$future->await()['deviceId'], $future->await()['status']]);
                    unset($idempotent[$id]);
                }
            }
        }
    }

    /** @dataProvider signals */
    public function testSyncCallsSucceedAcrossRestarts(int $signal): void
    {
        $client = $this->connect(timeout: 30.0);
        for ($round = 0; $round < 3; $round++) {
            for ($i = 0; $i < 20; $i++) {
                self::assertSame([$i], $client->call('system.echo', [$i], idempotent: true));
            }
            $this->host->stop($signal);
            $this->host->launch();
            // The idle connection was closed with the host. Even a call that must not run twice
            // succeeds.
            self::assertSame([$round], $client->call('system.echo', [$round]));
        }
    }

    public function testPersistentSocketsStayConsistentUnderPhpFpm(): void
    {
        $this->connect();
        $fpm = PhpFpm::start($this->scratch) ?? self::markTestSkipped(PhpFpm::MISSING);
        $requests = new TerminatedRequests($fpm, $this->scratch);
        $assertSucceeds = function (array $query, string $when) use ($requests): void {
            $report = $requests->run($this->host->socket, $query);
            $found = [$report['wrong'] ?? null, $report['failed'] ?? null];
            self::assertSame([[], []], $found, $when . json_encode($report));
        };

        try {
            $exchangeBytes = TerminatedRequests::exchangeBytes($this->helloAnswerBytes());
            for ($at = 0; $at <= $exchangeBytes; $at++) {
                $mode = $at % 2 === 0 ? 'sync' : 'async';
                $way = TerminatedRequests::WAYS[$at % count(TerminatedRequests::WAYS)];
                $terminated = $requests->terminate($this->host->socket, $way, $at, ['mode' => $mode]);
                self::assertSame($at < $exchangeBytes, $terminated, "$way at byte $at");
                $assertSucceeds(['calls' => 5, 'mode' => $mode], "after $way at byte $at: ");
            }
            for ($calls = 0; $calls < 10_000; $calls += 1_000) {
                $assertSucceeds(['calls' => 1_000], '');
            }
            $this->host->stop();
            $this->host->launch();
            $assertSucceeds(['calls' => 10], 'after a restart: ');
        } finally {
            $fpm->stop();
        }
    }

    /** Returns the length of the frame with which the host answers a hello. */
    private function helloAnswerBytes(): int
    {
        $stream = stream_socket_client($this->host->address);
        fwrite($stream, TerminatedRequests::hello());
        $answer = Peer::frame($stream);

        return Header::LENGTH + strlen($answer['payload']);
    }

    /** @param list<string> $plugins */
    private function connect(array $plugins = [], mixed ...$options): Client
    {
        $this->host = JackfieldHost::start($this->scratch, $plugins);

        return Client::connect($this->host->address, new Options(...$options));
    }
}
