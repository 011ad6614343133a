<?php

/**
 * Requests of a php-fpm that die at a given byte of an exchange, and the proof that they did.
 */

declare(strict_types=1);

namespace Jackfield\Tests\Support;

use Jackfield\Uuid;
use Jackfield\Wire\Envelope;
use Jackfield\Wire\Header;

final class DyingRequests
{
    /** Every way in which PHP itself, its visitor or the system ends a request in its middle. */
    public const WAYS = ['exit', 'fatal', 'time', 'abort', 'kill'];

    /** What PHP prints at the end of such a request. */
    private const LAST_WORDS = [
        'exit' => '',
        'fatal' => 'Allowed memory size of 16777216 bytes exhausted',
        // Of 30 seconds where the signal overtakes the script's own limit.
        'time' => 'Maximum execution time of',
        'kill' => '',
    ];
    /** The signal of PHP's time limit (setitimer(2), ITIMER_PROF): sent by hand, it saves a second for each byte. */
    private const TIME_IS_UP = SIGPROF;

    private readonly string $script;

    public function __construct(private readonly PhpFpm $fpm, private readonly Scratch $scratch)
    {
        // php-fpm takes no path with two dots.
        $this->script = dirname(__DIR__) . '/Fpm/scripts/request.php';
    }

    /** Bytes of a request of the script: the host has it whole, and the visitor nothing of the reply. */
    public static function requestBytes(): int
    {
        return strlen(Header::frame(Header::SYNC, Envelope::request(Uuid::v4(), 'system.echo', self::params())));
    }

    /** Bytes of a request and its reply. */
    public static function exchangeBytes(): int
    {
        $reply = json_encode(['id' => Uuid::v4(), 'result' => self::params()], JSON_THROW_ON_ERROR);

        return self::requestBytes() + strlen(Header::frame(Header::SYNC, $reply));
    }

    /**
     * Runs the script.
     *
     * @param array<string, string|int> $query
     * @return array<string, mixed> what it printed; `died` if that was nothing
     */
    public function run(string $socket, array $query): array
    {
        $body = $this->fpm->cgi->get($this->script, $query + ['socket' => $socket]);

        return json_decode($body, true) ?? ['died' => true, 'body' => $body];
    }

    /**
     * Runs the script so that it dies when `$at` bytes of its first exchange have passed.
     *
     * @param array<string, string|int> $query
     * @param bool $really leaves the time limit to the kernel's own timer
     * @return bool whether it died: not if its exchange has fewer bytes
     */
    public function die(string $socket, string $how, int $at, array $query = [], bool $really = false): bool
    {
        $obituary = $this->scratch->path('obituary');
        @unlink($obituary);
        $query += ['calls' => 1, 'at' => $at, 'how' => $how, 'obituary' => $obituary, 'socket' => $socket];
        $stream = $this->fpm->cgi->start($this->script, $query);
        if ($how === 'abort') {
            fclose($stream);
            // The one worker takes this only after the other has ended.
            $this->fpm->cgi->get($this->script, ['calls' => 0, 'socket' => $socket]);

            return is_file($obituary);
        }
        if ($how === 'kill' || $how === 'time' && !$really) {
            // A survivor writes its page instead.
            Wait::until(static function () use ($obituary, $stream): bool {
                $read = [$stream];
                $none = null;

                return is_file($obituary) || stream_select($read, $none, $none, 0) > 0;
            }, "the request dies at byte $at");
            if (is_file($obituary)) {
                posix_kill((int) file_get_contents($obituary), $how === 'kill' ? SIGKILL : self::TIME_IS_UP);
            }
        }
        $body = $this->fpm->cgi->finish($stream);
        fclose($stream);
        $printed = is_array(json_decode($body, true));
        if ($printed === is_file($obituary)) {
            throw new \LogicException("a request announced its death by $how at byte $at and lived on, or the reverse");
        }
        if (!$printed && !str_contains($body, self::LAST_WORDS[$how])) {
            throw new \LogicException("a request died at byte $at, but not by $how: $body");
        }

        return !$printed;
    }

    /** @return array<string, string> params as the script sends them, as far as their length goes */
    private static function params(): array
    {
        return ['token' => str_repeat('0', 16)];
    }
}
