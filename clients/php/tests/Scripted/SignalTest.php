<?php

declare(strict_types=1);

namespace Jackfield\Tests\Scripted;

use Jackfield\Client;
use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Future;
use Jackfield\Options;
use Jackfield\Tests\Support\JobTimeout;
use Jackfield\Tests\Support\MemoryLog;
use Jackfield\Tests\Support\TestCase;
use Jackfield\Tests\Support\Wait;

/**
 * Tests that an exception of an asynchronous signal handler reaches the program from any point of
 * the client, and that it leaves the client usable.
 *
 * While the signal handler may throw, no code of PHPUnit runs: PHP crashes if a handler throws
 * during the evaluation of some arguments (SourceTest), which PHPUnit does not avoid.
 */
final class SignalTest extends TestCase
{
    private const JOBS = 300;

    private bool $isArmed = false;
    private int $thrown = 0;
    private int $sender = 0;

    protected function setUp(): void
    {
        parent::setUp();
        pcntl_async_signals(true);
        pcntl_signal(SIGUSR1, function (): void {
            if ($this->isArmed) {
                $this->isArmed = false;
                $this->thrown++;
                throw new JobTimeout('the time of the job is up');
            }
        });
    }

    protected function tearDown(): void
    {
        if ($this->sender > 0) {
            posix_kill($this->sender, SIGKILL);
            pcntl_waitpid($this->sender, $status);
        }
        pcntl_signal(SIGUSR1, SIG_DFL);
        parent::tearDown();
    }

    /** @return iterable<string, array{\Closure(Client, int): mixed, array<string, mixed>}> */
    public static function jobs(): iterable
    {
        $call = static fn (Client $client, int $n): mixed => $client->call('system.echo', [$n]);
        $large = str_repeat('x', 10_000);
        yield 'call' => [$call, []];
        yield 'call with heartbeats' => [$call, ['healthCheckAfter' => 0.0]];
        yield 'call over persistent sockets' => [$call, ['persistent' => true, 'healthCheckAfter' => 0.0]];
        yield 'call with busy polling and a logger' => [$call, ['spin' => 0.001, 'logger' => new MemoryLog()]];
        yield 'callAsync' => [
            static fn (Client $client, int $n): mixed => $client->callAsync('system.echo', [$n])->await(),
            ['logger' => new MemoryLog()],
        ];
        yield 'batch' => [static function (Client $client, int $n) use ($large): array {
            $results = $client->batch([['system.echo', [$n]], ['system.echo', [$large]]]);
            if ($results[1] instanceof JackfieldException) {
                throw $results[1];
            }

            return $results[0];
        }, []];
        yield 'ping' => [static function (Client $client, int $n): array {
            $client->ping();

            return [$n];
        }, []];
    }

    /**
     * @dataProvider jobs
     *
     * @param \Closure(Client, int): mixed $job
     * @param array<string, mixed>         $options
     */
    public function testNoTimeoutOfAJobVanishesOrBecomesAnotherFailure(\Closure $job, array $options): void
    {
        $client = $this->client($this->play([[['serve' => 'fifo']]]), ...$options, timeout: 30.0);
        $this->sendSignals();

        $caught = 0;
        $wrong = 0;
        $others = [];
        for ($n = 0; $n < self::JOBS; $n++) {
            try {
                $this->untilTimeout(static function () use ($job, $client, $n, &$wrong): void {
                    $result = $job($client, $n);
                    $wrong += $result === [$n] ? 0 : 1;
                });
            } catch (JobTimeout) {
                $caught++;
            } catch (JackfieldException $failure) {
                $this->isArmed = false;
                $others[] = get_class($failure) . ': ' . $failure->getMessage();
            }
        }

        self::assertSame([], $others);
        self::assertSame(0, $wrong, 'wrong results');
        self::assertSame([self::JOBS, self::JOBS], [$this->thrown, $caught]);
        Wait::until(static function () use ($client): bool {
            $client->tick(0.01);

            return $client->connections()['busy'] === 0;
        }, 'late replies have arrived, and no connection is leaked');
    }

    public function testNoTimeoutOfAJobVanishesWhileConnecting(): void
    {
        $address = $this->play([[['serve' => 'fifo']]])->address;
        $this->sendSignals();

        $caught = 0;
        $wrong = 0;
        for ($n = 0; $n < self::JOBS; $n++) {
            try {
                $this->untilTimeout(static function () use ($address, $n, &$wrong): void {
                    $client = Client::connect($address, new Options(timeout: 30.0, persistent: $n % 2 === 0));
                    $result = $client->call('system.echo', [$n]);
                    $wrong += $result === [$n] ? 0 : 1;
                });
            } catch (JobTimeout) {
                $caught++;
            }
        }

        self::assertSame(0, $wrong, 'wrong results');
        self::assertSame([self::JOBS, self::JOBS], [$this->thrown, $caught]);
    }

    /**
     * A time-out may end the connection of other async calls. They fail with the reason, each
     * callback runs once, and no reply is mixed up. A time-out in a callback belongs to the
     * callback.
     */
    public function testOtherCallsInFlightSucceedOrReportTheInterruption(): void
    {
        $client = $this->client(
            $this->play([[['serve' => 'shuffled']]]),
            timeout: 30.0,
            maxInFlightPerConnection: 8,
            logger: new MemoryLog()
        );
        $this->sendSignals();

        /** @var array<int, Future> $futures */
        $futures = [];
        $called = [];
        $n = 0;
        for ($job = 0; $job < self::JOBS; $job++) {
            try {
                $this->untilTimeout(static function () use ($client, &$futures, &$called, &$n): void {
                    for ($i = 0; $i < 20; $i++) {
                        $n++;
                        $future = $client->callAsync('system.echo', [$n]);
                        $futures[$n] = $future;
                        $future->then(static function (array $result) use (&$called): void {
                            $count = $called[$result[0]] ?? 0;
                            $called[$result[0]] = $count + 1;
                        }, static fn (): mixed => null);
                    }
                    $client->tick(0.01);
                });
            } catch (JobTimeout) {
                continue;
            }
        }
        $this->isArmed = false;
        $client->run();

        $answered = 0;
        foreach ($futures as $number => $future) {
            try {
                self::assertSame([$number], $future->await());
                $answered++;
            } catch (ConnectionLostException $lost) {
                self::assertStringContainsString('because ' . JobTimeout::class . ' was thrown', $lost->getMessage());
                self::assertInstanceOf(JobTimeout::class, $lost->getPrevious());
            }
        }

        self::assertSame(self::JOBS, $this->thrown);
        self::assertGreaterThan(0, $answered);
        self::assertSame([1], array_values(array_unique($called)), 'each callback was called once');
        self::assertSame(0, $client->pending());
    }

    public function testWarningsInASignalHandlerReachTheErrorHandlerOfTheProgram(): void
    {
        $client = $this->client($this->play([[['silence' => true]]]));
        $seen = [];
        set_error_handler(static function (int $level, string $text) use (&$seen): bool {
            $seen[] = $text;

            return true;
        });
        // Those of a handler that runs inside the client's error handler are logged instead.
        $logged = ini_set('log_errors', '0');
        pcntl_signal(SIGUSR1, static fn (): bool => @trigger_error('from the signal handler', E_USER_WARNING));
        $this->sendSignals();
        try {
            self::thrown(JackfieldException::class, static fn (): mixed => $client->call('m', timeout: 0.2));
        } finally {
            pcntl_signal(SIGUSR1, SIG_IGN);
            restore_error_handler();
            ini_set('log_errors', (string) $logged);
        }

        self::assertSame(['from the signal handler'], array_values(array_unique($seen)));
    }

    /**
     * Repeats a function until the signal handler throws.
     */
    private function untilTimeout(callable $function): void
    {
        $this->isArmed = true;
        while ($this->isArmed) {
            $function();
        }
    }

    /**
     * Starts a process that sends signals at random instants, until the end of the test.
     */
    private function sendSignals(): void
    {
        $receiver = getmypid();
        $this->sender = pcntl_fork();
        if ($this->sender === 0) {
            while (posix_kill($receiver, SIGUSR1)) {
                usleep(random_int(100, 2_000));
            }
            posix_kill(getmypid(), SIGKILL);
        }
    }
}
