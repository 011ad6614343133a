<?php

declare(strict_types=1);

namespace Jackfield\Tests\Scripted;

use Jackfield\Client;
use Jackfield\Duration;
use Jackfield\Exception\ConnectException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\TimeoutException;
use Jackfield\Options;
use Jackfield\Tests\Support\TestCase;

/**
 * Tests that one deadline covers a whole call, and the exceptions for failures of the system.
 */
final class DeadlineTest extends TestCase
{
    /** Tolerance after a deadline, in seconds: generous, because the machine may be busy. */
    private const TOLERANCE = 4.0;

    /** @return iterable<string, array{bool}> */
    public static function modes(): iterable
    {
        yield 'sync' => [false];
        yield 'async' => [true];
    }

    /** @dataProvider modes */
    public function testRetriesConnectingUntilTheDeadline(bool $async): void
    {
        $client = Client::connect('unix://' . $this->scratch->path('none.sock'));
        $failure = $this->failAtDeadline($client, 0.2, $async, ConnectException::class);
        self::assertSame(2, $failure->getCode());
        self::assertStringContainsString('No such file', $failure->getMessage());
        self::assertTrue($failure->isRetryable());
    }

    /** @dataProvider modes */
    public function testReportsASocketWithoutAListenerAtTheDeadline(bool $async): void
    {
        $path = $this->scratch->path('dead.sock');
        fclose(stream_socket_server("unix://$path"));
        $failure = $this->failAtDeadline(Client::connect("unix://$path"), 0.2, $async, ConnectException::class);
        self::assertSame(111, $failure->getCode());
    }

    /** @dataProvider modes */
    public function testWaitsForAFullBacklog(bool $async): void
    {
        $path = $this->scratch->path('full.sock');
        $context = stream_context_create(['socket' => ['backlog' => 1]]);
        $flags = STREAM_SERVER_BIND | STREAM_SERVER_LISTEN;
        $listener = stream_socket_server("unix://$path", $code, $text, $flags, $context);
        $held = [];
        while (($stream = @stream_socket_client("unix://$path", $code, $text, 0.1)) !== false) {
            $held[] = $stream;
        }

        self::assertSame(11, $code, 'EAGAIN');
        $client = Client::connect("unix://$path");
        $failure = $this->failAtDeadline($client, 0.2, $async, ConnectException::class);
        self::assertSame(11, $failure->getCode());

        // The backlog gets space before the deadline: the client connects.
        $future = $client->callAsync('m', timeout: 10.0);
        $client->tick(0.01);
        while (count($held) > 0) {
            stream_socket_accept($listener);
            array_pop($held);
        }

        while ($client->streams()['read'] === []) {
            $client->tick(0.05);
        }

        self::assertFalse($future->isDone());
    }

    public function testReportsAMissingPermissionImmediately(): void
    {
        if (posix_geteuid() === 0) {
            // root may connect to any socket. A path through a file is another permanent error.
            file_put_contents($this->scratch->path('file'), '');
            $path = $this->scratch->path('file/x.sock');
        } else {
            $path = $this->scratch->path('closed.sock');
            $listener = stream_socket_server("unix://$path");
            chmod($path, 0);
        }
        $took = self::seconds(function () use ($path): void {
            $client = Client::connect("unix://$path");
            $failure = self::thrown(ConnectException::class, fn () => $client->call('m', timeout: 5.0));
            self::assertFalse($failure->isRetryable());
            self::thrown(ConnectException::class, fn () => $client->callAsync('m', timeout: 5.0)->await());
        });
        self::assertLessThan(2.0, $took);
    }

    /** @dataProvider modes */
    public function testReportsTheWritePhaseIfTheHostDoesNotRead(bool $async): void
    {
        // The kernel accepts the connection and fills its buffer. Nobody reads it.
        $listener = stream_socket_server('unix://' . $this->scratch->path('unread.sock'));
        $client = Client::connect('unix://' . $this->scratch->path('unread.sock'));
        $failure = $this->failAtDeadline($client, 0.2, $async, TimeoutException::class, str_repeat('x', 4_000_000));
        fclose($listener);
        self::assertSame(TimeoutException::WRITE, $failure->phase);
        // A sync call closes its connection, so the rest of the request is never sent. An async
        // call shares its connection, so the rest may be sent later.
        self::assertSame(!$async, $failure->isRetryable());
    }

    /** @dataProvider modes */
    public function testReportsTheWaitPhaseIfNoReplyArrives(bool $async): void
    {
        $client = $this->client($this->play([[['silence' => true]]]));
        $failure = $this->failAtDeadline($client, 0.2, $async, TimeoutException::class);
        self::assertSame(TimeoutException::WAIT, $failure->phase);
        self::assertFalse($failure->isRetryable());
    }

    public function testReportsTheReadPhaseIfTheReplyIsIncomplete(): void
    {
        $client = $this->client($this->play([[['expect' => 'sync'], ['send' => '0101'], ['silence' => true]]]));
        $failure = $this->failAtDeadline($client, 0.2, false, TimeoutException::class);
        self::assertSame(TimeoutException::READ, $failure->phase);
    }

    /** @dataProvider modes */
    public function testTheNextCallUsesANewConnectionAfterATimeout(bool $async): void
    {
        $server = $this->play([[['silence' => true]], [['serve' => 'fifo']]]);
        $client = $this->client($server, maxConnections: 1);
        $this->failAtDeadline($client, 0.1, $async, TimeoutException::class);
        self::assertSame([1], $client->call('system.echo', [1]), 'on a new connection');
    }

    public function testPingTimesOutIfTheHeartbeatIsNotAnswered(): void
    {
        $server = $this->play([[['silence' => true]]]);
        $client = $this->client($server);
        $took = self::seconds(fn () => self::thrown(TimeoutException::class, fn () => $client->ping(0.2)));
        self::assertGreaterThanOrEqual(0.2, $took);
        self::assertLessThan(0.2 + self::TOLERANCE, $took);
    }

    public function testSignalsDoNotMoveTheDeadline(): void
    {
        $client = $this->client($this->play([[['silence' => true]]]));
        $signals = 0;
        pcntl_async_signals(true);
        pcntl_signal(SIGUSR1, static function () use (&$signals): void {
            $signals++;
        });
        $me = getmypid();
        $sender = proc_open(['sh', '-c', "while kill -USR1 $me; do sleep 0.02; done"], [], $pipes);
        try {
            // A busy machine may take a while to send some signals.
            do {
                $this->failAtDeadline($client, 0.5, false, TimeoutException::class);
                $this->failAtDeadline($client, 0.5, true, TimeoutException::class);
            } while ($signals <= 3);
        } finally {
            proc_terminate($sender, SIGKILL);
            proc_close($sender);
            pcntl_signal(SIGUSR1, SIG_DFL);
        }
    }

    public function testWorksWithAnErrorHandlerThatThrowsForSilencedErrors(): void
    {
        set_error_handler(static function (int $level, string $text): never {
            throw new \ErrorException($text, 0, $level);
        });
        try {
            $client = Client::connect('unix://' . $this->scratch->path('none.sock'));
            self::thrown(ConnectException::class, fn () => $client->call('m', timeout: 0.05));
            $server = $this->play([[['serve' => 'fifo']]]);
            $client = $this->client($server, healthCheckAfter: 86_400.0);
            self::assertSame([1], $client->call('system.echo', [1]));
            $server->kill();
            self::thrown(ConnectException::class, fn () => $client->call('system.echo', [1], timeout: 0.05));
        } finally {
            restore_error_handler();
        }
    }

    /**
     * Makes a call that must fail at its deadline, and returns the failure.
     *
     * @template T of JackfieldException
     *
     * @param class-string<T> $class
     *
     * @return T
     */
    private function failAtDeadline(
        Client $client,
        float $timeout,
        bool $async,
        string $class,
        mixed $params = null,
    ): \Throwable {
        $started = hrtime(true);
        $failure = self::thrown($class, static fn (): mixed => $async
            ? $client->callAsync('m', $params, timeout: $timeout)->await()
            : $client->call('m', $params, timeout: $timeout));
        $took = (hrtime(true) - $started) / 1e9;
        self::assertGreaterThanOrEqual($timeout - 0.001, $took);
        self::assertLessThan($timeout + self::TOLERANCE, $took);
        $seconds = Duration::text((int) ($timeout * 1e9));
        $pattern = '/\(after [0-9.]+ s, time-out ' . preg_quote($seconds) . '[,)]/';
        self::assertMatchesRegularExpression($pattern, $failure->getMessage());
        self::assertStringStartsWith(
            $class === TimeoutException::class
                ? 'm: the deadline passed'
                : "m: cannot connect to unix://{$this->scratch->path('')}",
            $failure->getMessage()
        );

        return $failure;
    }
}
