<?php

declare(strict_types=1);

namespace Jackfield\Bench;

/**
 * A host, a Redis and, if it is installed, a php-fpm in a temporary directory.
 *
 * All of them are stopped, and the directory is removed, when this process ends.
 */
final class Servers
{
    private const ROOT = __DIR__ . '/../..';

    /** Time that a server may take until it accepts connections, in seconds. */
    private const START_TIMEOUT = 20.0;

    /** Address of the host. */
    public readonly string $host;

    public readonly \Redis $redis;

    /** Null if php-fpm is not installed. */
    public readonly ?FastCgi $fpm;

    private readonly string $scratch;

    /** @var list<resource> */
    private array $processes = [];

    public function __construct()
    {
        // The path is made absolute, because the servers run in the temporary directory.
        $path = getenv('JACKFIELD_BIN') ?: self::ROOT . '/target/release/jackfield';
        $binary = realpath($path) ?: $path;
        $plugin = dirname($binary) . '/libdevice.so';
        is_executable($binary) && is_file($plugin) || self::fail(
            "$binary or $plugin is missing: cargo build --release -p jackfield -p jackfield-plugin-device"
        );
        extension_loaded('redis') || self::fail('php-redis is missing: apt-get install php-redis redis-server');

        $this->scratch = sys_get_temp_dir() . '/jackfield-bench-' . bin2hex(random_bytes(6));
        mkdir($this->scratch . '/plugins', 0700, true);

        // Stop and remove everything in any case, also if a signal ends the script.
        register_shutdown_function($this->end(...));
        pcntl_async_signals(true);
        foreach ([SIGINT, SIGTERM, SIGHUP] as $signal) {
            pcntl_signal($signal, static fn (int $signal) => exit(128 + $signal));
        }

        copy($plugin, $this->scratch . '/plugins/device.so');
        file_put_contents(
            $this->scratch . '/config.toml',
            "[[listener]]\nsocket = \"host.sock\"\n[plugins]\ndirectory = \"plugins\"\n"
        );
        $this->host = "unix://{$this->scratch}/host.sock";
        $this->start([$binary, 'serve', '-c', $this->scratch . '/config.toml'], 'host.sock');

        $redisSocket = $this->scratch . '/redis.sock';
        $this->start(
            ['redis-server', '--port', '0', '--unixsocket', $redisSocket, '--save', '', '--appendonly', 'no'],
            'redis.sock'
        );
        $this->redis = new \Redis();
        $this->redis->connect($redisSocket);

        $this->fpm = $this->startFpm();
    }

    private function startFpm(): ?FastCgi
    {
        $programs = glob('/usr/sbin/php-fpm*') ?: [];
        if ($programs === []) {
            fwrite(STDERR, "skipped: FastCGI: apt-get install php-fpm\n");

            return null;
        }

        // One worker is enough for one client.
        file_put_contents($this->scratch . '/fpm.conf', <<<CONF
            [global]
            error_log = {$this->scratch}/log
            [www]
            listen = {$this->scratch}/fpm.sock
            pm = static
            pm.max_children = 1
            CONF . (posix_geteuid() === 0 ? "\nuser = root\ngroup = root\n" : "\n"));
        $root = posix_geteuid() === 0 ? ['--allow-to-run-as-root'] : [];
        $this->start(
            [$programs[0], '--nodaemonize', '--fpm-config', $this->scratch . '/fpm.conf', ...$root],
            'fpm.sock'
        );

        return new FastCgi($this->scratch . '/fpm.sock');
    }

    private function end(): void
    {
        foreach ($this->processes as $process) {
            proc_terminate($process);
            proc_close($process);
        }
        self::remove($this->scratch);
    }

    private static function remove(string $path): void
    {
        if (!is_dir($path) || is_link($path)) {
            unlink($path);

            return;
        }

        foreach (array_diff(scandir($path) ?: [], ['.', '..']) as $name) {
            self::remove("$path/$name");
        }
        rmdir($path);
    }

    /**
     * Starts a server and waits until it accepts connections.
     *
     * @param list<string> $command
     * @param string       $socket  name of its socket in the temporary directory
     */
    private function start(array $command, string $socket): void
    {
        $log = ['file', $this->scratch . '/log', 'a'];
        $process = @proc_open($command, [['file', '/dev/null', 'r'], $log, $log], $pipes, $this->scratch);
        $process !== false || self::fail("cannot start $command[0]");
        $this->processes[] = $process;

        $end = hrtime(true) + (int) (self::START_TIMEOUT * 1e9);
        while (($stream = @stream_socket_client("unix://{$this->scratch}/$socket")) === false) {
            hrtime(true) < $end || self::fail(
                "$command[0] does not accept connections: " . file_get_contents($this->scratch . '/log')
            );
            usleep(5_000);
        }
        fclose($stream);
    }

    private static function fail(string $reason): never
    {
        fwrite(STDERR, "compare.php: $reason\n");
        exit(69);
    }
}
