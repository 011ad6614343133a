<?php

/**
 * A real host, from the program that JACKFIELD_BIN names, in a directory of its own.
 */

declare(strict_types=1);

namespace Jackfield\Tests\Support;

final class JackfieldHost
{
    public readonly string $socket;
    public readonly string $address;
    /** @var resource|null */
    private $process;

    /** @param list<string> $plugins the names of plugins to install, such as `device` */
    private function __construct(private readonly Scratch $scratch, private readonly string $binary, array $plugins)
    {
        $this->socket = $scratch->path('host.sock');
        $this->address = "unix://{$this->socket}";
        mkdir($scratch->path('plugins'));
        foreach ($plugins as $plugin) {
            copy(self::library($plugin), $scratch->path("plugins/$plugin.so"));
        }
        file_put_contents($scratch->path('config.toml'), <<<TOML
            [[listener]]
            socket = "host.sock"
            [timeouts]
            drain = "5s"
            [plugins]
            directory = "plugins"
            TOML . (in_array('journal', $plugins, true) ? <<<TOML

            [plugin.journal.settings]
            directory = "{$scratch->path('journal')}"
            TOML : '') . "\n");
        $this->run();
    }

    /**
     * A running host.
     *
     * @param list<string> $plugins
     */
    public static function start(Scratch $scratch, array $plugins = []): self
    {
        $binary = getenv('JACKFIELD_BIN');
        if (!is_string($binary) || !is_executable($binary)) {
            throw new \RuntimeException('JACKFIELD_BIN names no program; run run-tests.sh');
        }

        return new self($scratch, $binary, $plugins);
    }

    /** Starts the program and returns when it answers. */
    public function run(): void
    {
        $log = ['file', $this->scratch->path('host.log'), 'a'];
        $this->process = proc_open(
            [$this->binary, 'serve', '-c', $this->scratch->path('config.toml')],
            [['file', '/dev/null', 'r'], $log, $log],
            $pipes
        );
        Wait::until(
            fn (): bool => @stream_socket_client($this->address) !== false,
            'the host listens',
            fn (): string => $this->log()
        );
    }

    /** Ends the host: in good order, or as a crash does. */
    public function stop(int $signal = SIGTERM): void
    {
        if ($this->process !== null) {
            proc_terminate($this->process, $signal);
            proc_close($this->process);
            $this->process = null;
        }
    }

    public function log(): string
    {
        return (string) @file_get_contents($this->scratch->path('host.log'));
    }

    public function __destruct()
    {
        $this->stop(SIGKILL);
    }

    private static function library(string $plugin): string
    {
        $beside = dirname((string) getenv('JACKFIELD_BIN'));
        foreach ([getenv('JACKFIELD_PLUGINS') ?: $beside, $beside] as $directory) {
            foreach (["$directory/lib$plugin.so", "$directory/$plugin.so"] as $file) {
                if (is_file($file)) {
                    return $file;
                }
            }
        }
        throw new \RuntimeException("the plugin $plugin is neither beside JACKFIELD_BIN nor in JACKFIELD_PLUGINS");
    }
}
