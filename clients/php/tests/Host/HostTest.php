<?php

/**
 * The client against the real host: many calls at once, limits, restarts in the middle, persistent sockets.
 */

declare(strict_types=1);

namespace Jackfield\Tests\Host;

use Jackfield\Client;
use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\TimeoutException;
use Jackfield\Options;
use Jackfield\Tests\Support\DyingRequests;
use Jackfield\Tests\Support\JackfieldHost;
use Jackfield\Tests\Support\PhpFpm;
use Jackfield\Tests\Support\TestCase;
use Jackfield\Tests\Support\Wait;
use Jackfield\Wire\Code;

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

    public function testTheMethodsThatAreAlwaysThere(): void
    {
        $client = $this->connect();
        self::assertContains('system.echo', $client->call('system.methods'));
        $value = ['text' => "größe \u{2028} \0", 'numbers' => [1, -1, 1.5, 0.1], 'nothing' => null, 'list' => [[], [1]]];
        self::assertSame($value, $client->call('system.echo', $value));
        self::assertSame($value, $client->callAsync('system.echo', $value)->await());
        self::assertSame([18_446_744_073_709], $client->call('system.echo', [18_446_744_073_709]));
        self::assertGreaterThan(0.0, $client->ping());
        foreach ([fn () => $client->call('no.such'), fn () => $client->callAsync('no.such')->await()] as $call) {
            self::assertSame(Code::METHOD_NOT_FOUND, self::thrown(RemoteException::class, $call)->getCode());
        }
        self::assertCount(1, array_filter([array_sum($client->connections())]), 'errors cost no connection');
    }

    public function testThreeThousandAsyncCallsAtOnce(): void
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

    public function testATwelveHundredCallsInFlightAtTheHost(): void
    {
        $client = $this->connect(['device'], timeout: 60.0);
        $reports = [];
        for ($i = 0; $i < 1_200; $i++) {
            $reports["d$i"] = $client->callAsync('device.report', ['deviceId' => "d$i", 'withinMs' => 50_000]);
        }
        $client->tick();
        self::assertSame(1_200, $client->pending(), 'they wait at the host for what has not happened');
        // A report that the host had not begun when its update came waits for the next one.
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

    public function testLargeCallsAndOnesThatAreTooLarge(): void
    {
        $client = $this->connect(timeout: 60.0, maxConnections: 1);
        $large = str_repeat('x', 8 << 20);
        self::assertSame($large, $client->call('system.echo', $large));
        $tooLarge = str_repeat('x', 17 << 20);
        foreach ([fn () => $client->call('system.echo', $tooLarge), fn () => $client->callAsync('system.echo', $tooLarge)->await()] as $call) {
            self::assertSame(Code::FRAME_TOO_LARGE, self::thrown(RemoteException::class, $call)->getCode());
        }
        $right = 0;
        $pad = str_repeat('y', 100_000);
        for ($i = 0; $i < 1_000; $i++) {
            $client->callAsync('system.echo', [$i, $pad])->then(static function (array $result) use ($i, $pad, &$right): void {
                $right += (int) ($result === [$i, $pad]);
            });
        }
        $client->run();
        self::assertSame(1_000, $right);
    }

    public function testALateReplyIsNotTakenByAnotherCall(): void
    {
        $client = $this->connect(['device']);
        $other = Client::connect($this->host->address);
        for ($i = 0; $i < 5; $i++) {
            $report = ['deviceId' => 'x', 'withinMs' => 20_000];
            self::thrown(TimeoutException::class, fn () => $client->call('device.report', $report, timeout: 0.05));
            $late = $client->callAsync('device.report', $report, timeout: 0.05);
            self::thrown(TimeoutException::class, $late->await(...));
            // Nobody waits any more for what is answered now.
            $other->call('device.status.update', ['deviceId' => 'x', 'status' => 'online']);
            for ($n = 0; $n < 50; $n++) {
                self::assertSame([$i, $n], $client->call('system.echo', [$i, $n]));
            }
        }
    }

    /** @return iterable<string, array{int}> */
    public static function ends(): iterable
    {
        yield 'in good order' => [SIGTERM];
        yield 'by a crash' => [SIGKILL];
    }

    /** @dataProvider ends */
    public function testTheHostIsRestartedInTheMiddle(int $signal): void
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
        Wait::until(static fn (): bool => is_file($journal) && filesize($journal) > 0, 'the first has run');
        self::assertSame(self::MANY, $client->pending(), 'none has its outcome yet');
        $this->host->stop($signal);
        $this->host->run();

        $succeeded = $failed = [];
        foreach ($calls as $i => [$idempotent, $future]) {
            try {
                $future->await();
                $succeeded[] = $i;
            } catch (JackfieldException $failure) {
                self::assertFalse($idempotent, "an idempotent call failed: $failure");
                self::assertInstanceOf(ConnectionLostException::class, $failure, 'the one way to be left in doubt');
                $failed[$i] = $failure;
            }
        }
        self::assertSame(self::MANY, count($succeeded) + count($failed));
        $ran = array_count_values(array_map(intval(...), file($journal)));
        foreach ($succeeded as $i) {
            self::assertArrayHasKey($i, $ran, "call $i was answered and never ran");
        }
        foreach ($calls as $i => [$idempotent]) {
            if (!$idempotent) {
                self::assertLessThanOrEqual(1, $ran[$i] ?? 0, "call $i ran twice");
            }
        }
        foreach ($failed as $i => $failure) {
            self::assertTrue(!$failure->isRetryable() || !isset($ran[$i]), "call $i ran and is called safe: $failure");
        }
        self::assertSame(['after'], $client->call('system.echo', ['after']));
    }

    /**
     * Every one of these calls has begun at the host, and none can end there: what it reports on never happens.
     *
     * @dataProvider ends
     */
    public function testTheHostIsRestartedUnderCallsThatAllWaitThere(int $signal): void
    {
        $client = $this->connect(['device'], timeout: 60.0, maxInFlightPerConnection: 60);
        $idempotent = $others = [];
        for ($i = 0; $i < self::MANY / 2; $i++) {
            $params = ['deviceId' => "d$i", 'withinMs' => 50_000];
            $idempotent["d$i"] = $client->callAsync('device.report', $params, idempotent: true);
            $others["d$i"] = $client->callAsync('device.report', $params);
        }
        $client->tick();
        // What a host that ends has not begun is sent again, whatever it is: all of it has to be there.
        $observer = Client::connect($this->host->address);
        $begun = static fn (): int => $observer->call('system.info')['counts']['in_flight'];
        Wait::until(static fn (): bool => $begun() >= self::MANY, 'all have begun', static fn (): string => "{$begun()}");
        self::assertSame(self::MANY, $client->pending());
        $this->host->stop($signal);
        $this->host->run();
        foreach ($others as $id => $future) {
            // Cut off by a crash, or told by a host that could wait no longer: neither may be sent again.
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

    /** @dataProvider ends */
    public function testSyncCallsAcrossRestarts(int $signal): void
    {
        $client = $this->connect(timeout: 30.0);
        for ($round = 0; $round < 3; $round++) {
            for ($i = 0; $i < 20; $i++) {
                self::assertSame([$i], $client->call('system.echo', [$i], idempotent: true));
            }
            $this->host->stop($signal);
            $this->host->run();
            // The idle connection died with the host: no error is seen even by a call that may not run twice.
            self::assertSame([$round], $client->call('system.echo', [$round]));
        }
    }

    public function testPersistentSocketsUnderPhpFpm(): void
    {
        $this->connect();
        $fpm = PhpFpm::start($this->scratch) ?? self::markTestSkipped(PhpFpm::MISSING);
        $requests = new DyingRequests($fpm, $this->scratch);
        $allRight = function (array $query, string $when) use ($requests): void {
            $outcome = $requests->run($this->host->socket, $query);
            self::assertSame([[], []], [$outcome['wrong'] ?? null, $outcome['failed'] ?? null], $when . json_encode($outcome));
        };
        try {
            for ($at = 0; $at <= DyingRequests::exchangeBytes(); $at++) {
                $mode = $at % 2 === 0 ? 'sync' : 'async';
                $how = DyingRequests::WAYS[$at % count(DyingRequests::WAYS)];
                $died = $requests->die($this->host->socket, $how, $at, ['mode' => $mode]);
                self::assertSame($at < DyingRequests::exchangeBytes(), $died, "$how at byte $at");
                $allRight(['calls' => 5, 'mode' => $mode], "after $how at byte $at: ");
            }
            for ($calls = 0; $calls < 10_000; $calls += 1_000) {
                $allRight(['calls' => 1_000], '');
            }
            $this->host->stop();
            $this->host->run();
            $allRight(['calls' => 10], 'after a restart: ');
        } finally {
            $fpm->stop();
        }
    }

    /** @param list<string> $plugins */
    private function connect(array $plugins = [], mixed ...$options): Client
    {
        $this->host = JackfieldHost::start($this->scratch, $plugins);

        return Client::connect($this->host->address, new Options(...$options));
    }
}
