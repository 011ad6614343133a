<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

use Jackfield\Client;
use Jackfield\Options;

/**
 * A test with a temporary directory and with scripted servers that are stopped at its end.
 */
abstract class TestCase extends \PHPUnit\Framework\TestCase
{
    protected Scratch $scratch;

    /** @var list<ScriptedServer> */
    private array $servers = [];

    protected function setUp(): void
    {
        $this->scratch = new Scratch();
    }

    protected function tearDown(): void
    {
        foreach ($this->servers as $server) {
            $server->finish();
        }
        $this->servers = [];
        $this->scratch->remove();
    }

    /**
     * Starts a server that plays a list of steps for each connection.
     *
     * @param array<int, array<int, array<string, mixed>>> $connections
     */
    protected function play(array $connections): ScriptedServer
    {
        $file = $this->scratch->path('script-' . count($this->servers) . '.json');
        file_put_contents($file, json_encode(['server' => ['connections' => $connections]], JSON_THROW_ON_ERROR));

        return $this->playFile($file);
    }

    /**
     * Starts a server that plays a script file.
     *
     * @param array<string, int> $variables
     */
    protected function playFile(string $file, array $variables = [], ?string $socket = null): ScriptedServer
    {
        $socket ??= $this->scratch->path('s' . count($this->servers) . '.sock');

        return $this->servers[] = new ScriptedServer($file, $socket, $variables);
    }

    protected function client(ScriptedServer $server, mixed ...$options): Client
    {
        return Client::connect($server->address, new Options(...$options));
    }

    /**
     * Returns the exception that the function throws; fails if it throws none.
     *
     * @template T of \Throwable
     *
     * @param class-string<T> $class
     *
     * @return T
     */
    protected static function thrown(string $class, callable $function): \Throwable
    {
        try {
            $function();
        } catch (\Throwable $thrown) {
            self::assertInstanceOf($class, $thrown, (string) $thrown);

            return $thrown;
        }
        self::fail("no $class was thrown");
    }

    /**
     * Returns how long the function takes, in seconds.
     */
    protected static function seconds(callable $function): float
    {
        $started = hrtime(true);
        $function();

        return (hrtime(true) - $started) / 1e9;
    }
}
