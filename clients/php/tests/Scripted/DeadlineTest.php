<?php

/**
 * One deadline over a whole call, and what each failure of the system becomes.
 */

declare(strict_types=1);

namespace Jackfield\Tests\Scripted;

use Jackfield\Client;
use Jackfield\Exception\ConnectException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\TimeoutException;
use Jackfield\Options;
use Jackfield\Tests\Support\TestCase;

final class DeadlineTest extends TestCase
{
    /** Over the deadline by this many seconds is late: generous, for a machine that does much else. */
    private const SLACK = 4.0;

    /** @return iterable<string, array{bool}> */
    public static function ways(): iterable
    {
        yield 'sync' => [false];
        yield 'async' => [true];
    }

    /** @dataProvider ways */
    public function testConnectingIsTriedUntilTheDeadline(bool $async): void
    {
        $client = Client::connect('unix://' . $this->scratch->path('none.sock'));
        $failure = $this->late($client, 0.2, $async, ConnectException::class);
        self::assertSame(2, $failure->getCode());
        self::assertStringContainsString('No such file', $failure->getMessage());
        self::assertTrue($failure->isRetryable());
    }

    /** @dataProvider ways */
    public function testASocketNobodyListensOn(bool $async): void
    {
        $path = $this->scratch->path('dead.sock');
        fclose(stream_socket_server("unix://$path"));
        $failure = $this->late(Client::connect("unix://$path"), 0.2, $async, ConnectException::class);
        self::assertSame(111, $failure->getCode());
    }

    /** @dataProvider ways */
    public function testAFullBacklogIsWaitedFor(bool $async): void
    {
        $path = $this->scratch->path('full.sock');
        $context = stream_context_create(['socket' => ['backlog' => 1]]);
        $listener = stream_socket_server("unix://$path", $code, $text, STREAM_SERVER_BIND | STREAM_SERVER_LISTEN, $context);
        $held = [];
        while (($stream = @stream_socket_client("unix://$path", $code, $text, 0.1)) !== false) {
            $held[] = $stream;
        }
        self::assertSame(11, $code, 'EAGAIN');
        $client = Client::connect("unix://$path");
        $failure = $this->late($client, 0.2, $async, ConnectException::class);
        self::assertSame(11, $failure->getCode());

        // Room in the backlog before the deadline: the call goes through.
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

    public function testNoPermissionIsNotWaitedFor(): void
    {
        if (posix_geteuid() === 0) {
            // root may connect to anything: a path through a file stands in for what waiting cannot mend.
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

    /** @dataProvider ways */
    public function testWriting(bool $async): void
    {
        // The kernel takes the connection and a buffer full; nobody ever reads it.
        $listener = stream_socket_server('unix://' . $this->scratch->path('deaf.sock'));
        $client = Client::connect('unix://' . $this->scratch->path('deaf.sock'));
        $failure = $this->late($client, 0.2, $async, TimeoutException::class, str_repeat('x', 4_000_000));
        fclose($listener);
        self::assertSame(TimeoutException::WRITE, $failure->phase);
        // A sync call ends its connection, so the rest is never sent; an async one shares it.
        self::assertSame(!$async, $failure->isRetryable());
    }

    /** @dataProvider ways */
    public function testWaiting(bool $async): void
    {
        $client = $this->client($this->play([[['silence' => true]]]));
        $failure = $this->late($client, 0.2, $async, TimeoutException::class);
        self::assertSame(TimeoutException::WAIT, $failure->phase);
        self::assertFalse($failure->isRetryable());
    }

    public function testReading(): void
    {
        $client = $this->client($this->play([[['expect' => 'sync'], ['send' => '0101'], ['silence' => true]]]));
        self::assertSame(TimeoutException::READ, $this->late($client, 0.2, false, TimeoutException::class)->phase);
    }

    /** @dataProvider ways */
    public function testASilentHostDoesNotKeepTheNextCallWaiting(bool $async): void
    {
        $server = $this->play([[['silence' => true]], [['serve' => 'fifo']]]);
        $client = $this->client($server, maxConnections: 1);
        $this->late($client, 0.1, $async, TimeoutException::class);
        self::assertSame([1], $client->call('system.echo', [1]), 'on a new connection');
    }

    public function testAnUnansweredHeartbeat(): void
    {
        $server = $this->play([[['expect' => 'heartbeat'], ['silence' => true]]]);
        $client = $this->client($server);
        $took = self::seconds(fn () => self::thrown(TimeoutException::class, fn () => $client->ping(0.2)));
        self::assertGreaterThanOrEqual(0.2, $took);
        self::assertLessThan(0.2 + self::SLACK, $took);
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
            // However long a busy machine takes to send some.
            do {
                $this->late($client, 0.5, false, TimeoutException::class);
                $this->late($client, 0.5, true, TimeoutException::class);
            } while ($signals <= 3);
        } finally {
            proc_terminate($sender, SIGKILL);
            proc_close($sender);
            pcntl_signal(SIGUSR1, SIG_DFL);
        }
    }

    public function testAnErrorHandlerThatThrowsForSilencedErrors(): void
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
     * A call that must fail at its deadline, neither before nor much after.
     *
     * @template T of JackfieldException
     * @param class-string<T> $class
     * @return T
     */
    private function late(Client $client, float $timeout, bool $async, string $class, mixed $params = null): \Throwable
    {
        $started = hrtime(true);
        $failure = self::thrown($class, static fn (): mixed => $async
            ? $client->callAsync('m', $params, timeout: $timeout)->await()
            : $client->call('m', $params, timeout: $timeout));
        $took = (hrtime(true) - $started) / 1e9;
        self::assertGreaterThanOrEqual($timeout - 0.001, $took);
        self::assertLessThan($timeout + self::SLACK, $took);

        return $failure;
    }
}
