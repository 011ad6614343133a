<?php

/**
 * A host and a redis in a scratch directory, both ended with this process.
 */

declare(strict_types=1);

namespace Jackfield\Bench;

final class Peers
{
    private const ROOT = __DIR__ . '/../..';
    /** Seconds that a server may take to answer. */
    private const PATIENCE = 20.0;

    /** The host's address. */
    public readonly string $host;
    public readonly \Redis $redis;
    private readonly string $scratch;
    /** @var list<resource> */
    private array $processes = [];

    public function __construct()
    {
        $binary = getenv('JACKFIELD_BIN') ?: self::ROOT . '/target/release/jackfield';
        $plugin = dirname($binary) . '/libdevice.so';
        is_executable($binary) && is_file($plugin)
            || self::missing("no $binary or no $plugin: cargo build --release -p jackfield -p jackfield-plugin-device");
        extension_loaded('redis') || self::missing('no php-redis: apt-get install php-redis redis-server');

        $this->scratch = sys_get_temp_dir() . '/jackfield-bench-' . bin2hex(random_bytes(6));
        mkdir($this->scratch . '/plugins', 0700, true);
        copy($plugin, $this->scratch . '/plugins/device.so');
        file_put_contents(
            $this->scratch . '/config.toml',
            "[[listener]]\nsocket = \"host.sock\"\n[plugins]\ndirectory = \"plugins\"\n"
        );
        $this->host = "unix://{$this->scratch}/host.sock";
        $this->start([$binary, 'serve', '-c', $this->scratch . '/config.toml'], 'host.sock');
        $this->start(
            ['redis-server', '--port', '0', '--unixsocket', $this->scratch . '/redis.sock', '--save', '', '--appendonly', 'no'],
            'redis.sock'
        );
        $this->redis = new \Redis();
        $this->redis->connect($this->scratch . '/redis.sock');
    }

    public function __destruct()
    {
        foreach ($this->processes as $process) {
            proc_terminate($process);
            proc_close($process);
        }
        foreach (['plugins/device.so', 'config.toml', 'log', 'host.sock', 'host.sock.lock', 'redis.sock'] as $name) {
            @unlink("{$this->scratch}/$name");
        }
        @rmdir($this->scratch . '/plugins');
        @rmdir($this->scratch);
    }

    /** @param list<string> $command */
    private function start(array $command, string $socket): void
    {
        $log = ['file', $this->scratch . '/log', 'a'];
        $process = @proc_open($command, [['file', '/dev/null', 'r'], $log, $log], $pipes, $this->scratch);
        $process !== false || self::missing("$command[0] does not start");
        $this->processes[] = $process;
        $end = hrtime(true) + (int) (self::PATIENCE * 1e9);
        while (($stream = @stream_socket_client("unix://{$this->scratch}/$socket")) === false) {
            hrtime(true) < $end
                || self::missing("$command[0] does not answer: " . file_get_contents($this->scratch . '/log'));
            usleep(5_000);
        }
        fclose($stream);
    }

    private static function missing(string $what): never
    {
        fwrite(STDERR, "compare.php: $what\n");
        exit(69);
    }
}
