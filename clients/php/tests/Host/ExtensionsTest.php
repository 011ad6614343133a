<?php

declare(strict_types=1);

namespace Jackfield\Tests\Host;

use Jackfield\Client;
use Jackfield\Exception\TimeoutException;
use Jackfield\Options;
use Jackfield\Tests\Support\JackfieldHost;
use Jackfield\Tests\Support\TestCase;
use Jackfield\Tests\Support\Wait;

/**
 * Tests with the real host what version 1.2 of the protocol adds.
 */
final class ExtensionsTest extends TestCase
{
    private const RESTARTS = 6;

    private ?JackfieldHost $host = null;

    protected function tearDown(): void
    {
        $this->host?->stop(SIGKILL);
        $this->host = null;
        parent::tearDown();
    }

    public function testTheHostReportsTheTimingAndTheGeneration(): void
    {
        $client = $this->connect(['device']);
        $update = ['deviceId' => 'd', 'status' => 'online'];
        $client->call('device.status.update', $update);
        $client->call('device.status.update', $update);
        self::assertGreaterThan(0, $client->lastTiming()?->generation);

        $report = $client->callAsync('device.report', ['deviceId' => 'd', 'withinMs' => 20_000]);
        $client->tick();
        usleep(20_000);
        while (!$report->isDone()) {
            // A report that the host starts after an update waits for the next update.
            $client->call('device.status.update', $update);
            $client->tick(0.01);
        }
        self::assertGreaterThan(0, $report->timing()?->runMicros);
    }

    public function testACancelledCallEndsAtTheHost(): void
    {
        $client = $this->connect(['device'], timeout: 60.0);
        $observer = Client::connect($this->host->address);
        $inFlight = static fn (): int => $observer->call('system.info')['counts']['in_flight'];
        $client->call('system.ping');
        $reports = [];
        for ($i = 0; $i < 10; $i++) {
            $reports[] = $client->callAsync('device.report', ['deviceId' => "d$i", 'withinMs' => 50_000]);
        }
        Wait::until(static fn (): bool => $inFlight() >= 10, 'the host runs the calls');

        foreach ($reports as $report) {
            self::assertTrue($report->cancel());
        }
        Wait::until(static fn (): bool => $inFlight() < 10, 'the host has ended them');
        Wait::until(static function () use ($client): bool {
            $client->tick(0.01);

            return $client->connections() === ['idle' => 1, 'busy' => 0];
        }, 'each of them was answered');
    }

    public function testTheDeadlineOfTheClientIsATimeoutWhicheverSideNotices(): void
    {
        $client = $this->connect(['device']);
        $params = ['deviceId' => 'x', 'withinMs' => 50_000];
        for ($i = 0; $i < 20; $i++) {
            self::thrown(TimeoutException::class, static fn () => $client->call('device.report', $params, 0.01));
            self::thrown(TimeoutException::class, $client->callAsync('device.report', $params, 0.01)->await(...));
        }
    }

    /**
     * The calls are not idempotent, and shorter than the drain.
     */
    public function testNoCallFailsOrRunsTwiceAcrossOrderlyRestarts(): void
    {
        $this->connect(['journal']);
        $pids = [];
        foreach (['call', 'callAsync'] as $how) {
            $pids[$how] = pcntl_fork();
            if ($pids[$how] === 0) {
                $options = new Options(timeout: 60.0, connectTimeout: 60.0);
                $client = Client::connect($this->host->address, $options);
                $failed = [];
                for ($i = 0; !is_file($this->scratch->path('end')); $i++) {
                    try {
                        $params = ['topic' => $how, 'entry' => $i];
                        $how === 'call'
                            ? $client->call('journal.append', $params)
                            : $client->callAsync('journal.append', $params)->await();
                    } catch (\Throwable $failure) {
                        $failed[] = "$i: $failure";
                    }
                }
                file_put_contents($this->scratch->path($how), json_encode(['sent' => $i, 'failed' => $failed]));
                posix_kill(getmypid(), SIGKILL);
            }
        }

        $lines = fn (string $how): int => is_file($file = $this->scratch->path("journal/$how.jsonl"))
            ? substr_count((string) file_get_contents($file), "\n")
            : 0;
        for ($restart = 0; $restart < self::RESTARTS; $restart++) {
            foreach ($pids as $how => $_) {
                $before = $lines($how);
                Wait::until(static fn (): bool => $lines($how) > $before + 20, 'calls are running');
            }
            $this->host->stop();
            $this->host->launch();
        }
        touch($this->scratch->path('end'));

        foreach ($pids as $how => $pid) {
            pcntl_waitpid($pid, $status);
            $report = json_decode((string) file_get_contents($this->scratch->path($how)), true);
            self::assertSame([], $report['failed'], $how);
            $ran = array_map(intval(...), file($this->scratch->path("journal/$how.jsonl")));
            self::assertSame(range(0, $report['sent'] - 1), $ran, "$how: each call ran once, in order");
        }
    }

    /** @param list<string> $plugins */
    private function connect(array $plugins = [], mixed ...$options): Client
    {
        $this->host = JackfieldHost::start($this->scratch, $plugins);

        return Client::connect($this->host->address, new Options(...$options));
    }
}
