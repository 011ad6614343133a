<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

/**
 * A real host in the directory of a test, from the program that JACKFIELD_BIN names.
 */
final class JackfieldHost
{
    public readonly string $socket;
    public readonly string $address;

    /** @var resource|null */
    private $process;

    /** @param list<string> $plugins names of the plugins to install, such as `device` */
    private function __construct(private readonly Scratch $scratch, private readonly string $binary, array $plugins)
    {
        $this->socket = $scratch->path('host.sock');
        $this->address = "unix://{$this->socket}";

        mkdir($scratch->path('plugins'));
        foreach ($plugins as $plugin) {
            copy(self::pluginFile($plugin), $scratch->path("plugins/$plugin.so"));
        }

        file_put_contents($scratch->path('config.toml'), <<<TOML
            [[listener]]
            socket = "host.sock"
            [timeouts]
            drain = "5s"
            [plugins]
            directory = "plugins"
            TOML . (in_array('journal', $plugins, true) ? <<<TOML

            [plugin.journal]
            queue = 4096
            [plugin.journal.settings]
            directory = "{$scratch->path('journal')}"
            TOML : '') . "\n");

        $this->launch();
    }

    /**
     * Creates the directory of a host and launches it.
     *
     * @param list<string> $plugins
     */
    public static function start(Scratch $scratch, array $plugins = []): self
    {
        $binary = getenv('JACKFIELD_BIN');
        if (!is_string($binary) || !is_executable($binary)) {
            throw new \RuntimeException('JACKFIELD_BIN does not name an executable (use run-tests.sh)');
        }

        return new self($scratch, $binary, $plugins);
    }

    /**
     * Launches the program, again after stop(), and returns when it accepts connections.
     */
    public function launch(): void
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

    /**
     * Stops the host: orderly with SIGTERM, as a crash with SIGKILL.
     */
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

    private static function pluginFile(string $plugin): string
    {
        $besideBinary = dirname((string) getenv('JACKFIELD_BIN'));
        foreach ([getenv('JACKFIELD_PLUGINS') ?: $besideBinary, $besideBinary] as $directory) {
            foreach (["$directory/lib$plugin.so", "$directory/$plugin.so"] as $file) {
                if (is_file($file)) {
                    return $file;
                }
            }
        }
        throw new \RuntimeException(
            "the plugin $plugin is neither in the directory of JACKFIELD_BIN nor in JACKFIELD_PLUGINS"
        );
    }
}
