<?php

declare(strict_types=1);

namespace Jackfield\Tests\Support;

/**
 * A process of the scripted server (tests/scripted-server).
 */
final class ScriptedServer
{
    public readonly string $address;

    /** @var resource|null */
    private $process;

    /** @var array<int, resource> */
    private array $pipes = [];

    /** @var array<string, mixed> */
    private array $report = [];

    /** @param array<string, int> $variables */
    public function __construct(string $script, public readonly string $socket, array $variables = [])
    {
        $binary = getenv('JACKFIELD_SCRIPTED_SERVER');
        if ($binary === false || !is_executable($binary)) {
            throw new \RuntimeException('JACKFIELD_SCRIPTED_SERVER does not name an executable (use run-tests.sh)');
        }

        $command = [$binary, $script, '--socket', $socket];
        foreach ($variables as $name => $value) {
            array_push($command, '--set', "$name=$value");
        }
        $this->process = proc_open($command, [['pipe', 'r'], ['pipe', 'w'], STDERR], $this->pipes);
        $this->address = "unix://$socket";

        $ready = json_decode((string) fgets($this->pipes[1]), true);
        if (($ready['ready'] ?? false) !== true) {
            throw new \RuntimeException("the scripted server did not start with $script");
        }
    }

    /**
     * Stops the server and returns its report.
     *
     * @return array{connections: list<array<string, mixed>>, faults: list<string>}
     */
    public function finish(): array
    {
        if ($this->process !== null) {
            fclose($this->pipes[0]);
            $this->report = json_decode((string) stream_get_contents($this->pipes[1]), true) ?? [];
            fclose($this->pipes[1]);
            proc_close($this->process);
            $this->process = null;
        }

        return $this->report;
    }

    /**
     * Kills the server, as a crash does: its socket file remains.
     */
    public function kill(): void
    {
        if ($this->process !== null) {
            proc_terminate($this->process, 9);
            fclose($this->pipes[0]);
            fclose($this->pipes[1]);
            proc_close($this->process);
            $this->process = null;
        }
    }

    /**
     * Returns the received requests, in the order of the connections. Stops the server.
     *
     * @return list<array<string, mixed>>
     */
    public function requests(): array
    {
        $frames = array_merge(...array_column($this->finish()['connections'], 'frames') ?: [[]]);

        return array_values(array_filter($frames, static fn (array $frame): bool => $frame['kind'] !== 2));
    }

    public function __destruct()
    {
        $this->finish();
    }
}
