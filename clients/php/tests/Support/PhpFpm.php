<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

/**
 * A php-fpm in the directory of a test, with one worker by default. It is stopped with the test.
 */
final class PhpFpm
{
    /** Message of a test that is skipped without php-fpm: the only reason to skip a test. */
    public const MISSING = 'no php-fpm is installed: apt-get install php-fpm';

    public readonly FastCgi $cgi;

    /** @var resource|null */
    private $process;

    private string $socket;

    private function __construct(private readonly Scratch $scratch, string $binary, int $workers)
    {
        $this->socket = $scratch->path('fpm.sock');
        $user = posix_geteuid() === 0 ? "user = root\ngroup = root\n" : '';
        file_put_contents($scratch->path('fpm.conf'), <<<CONF
            [global]
            error_log = {$scratch->path('fpm.log')}
            daemonize = no
            [www]
            $user
            listen = {$this->socket}
            pm = static
            pm.max_children = $workers
            catch_workers_output = yes
            CONF);

        $this->process = proc_open(
            [$binary, '-R', '-n', '-F', '-y', $scratch->path('fpm.conf'), '-d', 'display_errors=1'],
            [['file', '/dev/null', 'r'], ['file', $scratch->path('out'), 'a'], ['file', $scratch->path('out'), 'a']],
            $pipes
        );
        $this->cgi = new FastCgi($this->socket);

        // The socket file exists a moment before php-fpm listens on it.
        Wait::until(
            fn (): bool => @stream_socket_client("unix://{$this->socket}") !== false,
            'php-fpm listens',
            fn (): string => $this->log()
        );
    }

    /**
     * Starts php-fpm; returns null if none is installed.
     */
    public static function start(Scratch $scratch, int $workers = 1): ?self
    {
        foreach (glob('/usr/sbin/php-fpm*') ?: [] as $binary) {
            return new self($scratch, $binary, $workers);
        }

        return null;
    }

    public function stop(): void
    {
        if ($this->process !== null) {
            proc_terminate($this->process, SIGTERM);
            proc_close($this->process);
            $this->process = null;
        }
    }

    public function __destruct()
    {
        $this->stop();
    }

    public function log(): string
    {
        return (string) @file_get_contents($this->scratch->path('fpm.log'))
            . (string) @file_get_contents($this->scratch->path('out'));
    }
}
