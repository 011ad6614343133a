<?php

declare(strict_types=1);

namespace Jackfield\Tests\Scripted;

use Jackfield\Client;
use Jackfield\Options;
use Jackfield\Pool\Backoff;
use Jackfield\Tests\Support\TestCase;
use Jackfield\Transport\PersistentConnector;
use Jackfield\Transport\PersistentTransport;
use Jackfield\Uuid;

/**
 * Tests that a child process uses neither ids nor sockets of its parent, and does not disturb it.
 */
final class ForkTest extends TestCase
{
    private const CHILDREN = 3;

    public function testNoTwoProcessesGenerateTheSameIds(): void
    {
        $parent = [Uuid::v4()];
        $ids = $this->inChildren(static fn (): array => array_map(Uuid::v4(...), array_fill(0, 200, null)));
        for ($i = 0; $i < 200; $i++) {
            $parent[] = Uuid::v4();
        }

        self::assertSame(self::CHILDREN * 200 + 201, count(array_unique(array_merge($parent, ...$ids))));
    }

    public function testNoTwoProcessesRetryAtTheSameInstants(): void
    {
        mt_srand(1);
        $delays = $this->inChildren(static fn (): array => array_map(Backoff::nanos(...), range(5, 15)));
        self::assertCount(self::CHILDREN, array_unique($delays, SORT_REGULAR));
    }

    /** @return iterable<string, array{bool}> */
    public static function ownersOfTheSocket(): iterable
    {
        yield 'after the parent closed its client' => [true];
        yield 'while the parent uses its client' => [false];
    }

    /** @dataProvider ownersOfTheSocket */
    public function testAChildNeverUsesAPersistentSocketOfItsParent(bool $closed): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        $options = new Options(timeout: 30.0, persistent: true);
        $client = Client::connect($server->address, $options);
        self::assertSame(['before'], $client->call('system.echo', ['before']));
        if ($closed) {
            $client->close();
        }

        $right = $this->inChildren(static function (int $child) use ($server, $options): int {
            $right = 0;
            for ($i = 0; $i < 100; $i++) {
                $client = Client::connect($server->address, $options);
                $right += (int) ($client->call('system.echo', [$child, $i]) === [$child, $i]);
                $client->close();
            }

            return $right;
        });

        self::assertSame(array_fill(0, self::CHILDREN, 100), $right);
        $client = $closed ? Client::connect($server->address, $options) : $client;
        self::assertSame(['after'], $client->call('system.echo', ['after']), 'the parent continues on its socket');
        $client->close();
        self::assertCount(1 + self::CHILDREN, $server->finish()['connections'], 'one for each process');
    }

    /** @return iterable<string, array{\Closure(PersistentTransport): mixed}> */
    public static function unusedSockets(): iterable
    {
        yield 'left unused' => [static fn (PersistentTransport $transport) => $transport->leave()];
        yield 'in use, before its first byte' => [static fn (PersistentTransport $transport) => $transport->begin()];
    }

    /**
     * @dataProvider unusedSockets
     *
     * @param \Closure(PersistentTransport): mixed $use
     */
    public function testAChildNeverUsesASocketOnWhichItsParentSentNothing(\Closure $use): void
    {
        $path = $this->scratch->path('p.sock');
        $listener = stream_socket_server("unix://$path");
        $connector = new PersistentConnector("unix://$path", 1);
        $transport = $connector->connect();
        $accepted = stream_socket_accept($listener, 5);
        $use($transport);

        $this->inChildren(static fn (): int => (int) $connector->connect()->write('from a child'));

        for ($child = 0; $child < self::CHILDREN; $child++) {
            $connection = @stream_socket_accept($listener, 5);
            self::assertNotFalse($connection, 'each child makes its own connection');
            self::assertSame('from a child', fread($connection, 100));
        }
        stream_set_blocking($accepted, false);
        self::assertSame('', fread($accepted, 100));
        self::assertFalse(feof($accepted), 'the connection of the parent stays open');
        $transport->close();
    }

    /**
     * A child that exits normally destroys its copies of the clients of its parent.
     */
    public function testAChildThatExitsDoesNotEndTheCallsOfItsParent(): void
    {
        $server = $this->play([[['serve' => 'fifo']]]);
        $script = $this->scratch->path('fork.php');
        file_put_contents($script, '<?php require ' . var_export(dirname(__DIR__, 2) . '/autoload.php', true) . ';
            foreach ([false, true] as $persistent) {
                $options = new Jackfield\Options(timeout: 30.0, persistent: $persistent);
                $client = Jackfield\Client::connect($argv[1], $options);
                echo json_encode($client->call("system.echo", ["before"])), "\n";
                $pending = $client->callAsync("system.echo", ["pending"]);
                if (pcntl_fork() === 0) {
                    exit(0);
                }
                pcntl_wait($status);
                echo json_encode([$pending->await(), $client->call("system.echo", ["after"])]), "\n";
                $client->close();
            }');
        $output = shell_exec(escapeshellarg(PHP_BINARY) . " $script {$server->address} 2>&1");

        self::assertSame(str_repeat("[\"before\"]\n[[\"pending\"],[\"after\"]]\n", 2), $output);
        self::assertCount(2, $server->finish()['connections'], 'no connection was lost');
    }

    /**
     * Runs a function in some children at the same time and returns their results.
     *
     * @param callable(int): mixed $function receives the number of the child
     *
     * @return list<mixed>
     */
    private function inChildren(callable $function): array
    {
        $pids = [];
        for ($child = 0; $child < self::CHILDREN; $child++) {
            $pid = pcntl_fork();
            if ($pid === 0) {
                try {
                    $result = $function($child);
                } catch (\Throwable $thrown) {
                    $result = (string) $thrown;
                }
                // Kill the child: PHP's shutdown would destroy objects that belong to the parent.
                file_put_contents($this->scratch->path("child$child"), serialize($result));
                posix_kill(getmypid(), SIGKILL);
            }
            $pids[] = $pid;
        }

        foreach ($pids as $child => $pid) {
            pcntl_waitpid($pid, $status);
            $results[] = unserialize((string) file_get_contents($this->scratch->path("child$child")));
        }

        return $results;
    }
}
