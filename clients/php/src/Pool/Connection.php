<?php

/**
 * One connection and what is in flight on it: either a single exchange, or any number of async calls.
 */

declare(strict_types=1);

namespace Jackfield\Pool;

use Jackfield\Call\Call;
use Jackfield\Exception\ConnectionLostException;
use Jackfield\Exception\JackfieldException;
use Jackfield\Exception\ProtocolException;
use Jackfield\Exception\RemoteException;
use Jackfield\Exception\TimeoutException;
use Jackfield\Options;
use Jackfield\Transport\Transport;
use Jackfield\Wire\Envelope;
use Jackfield\Wire\FrameReader;
use Jackfield\Wire\Header;

use function min, spl_object_id, strlen, substr;

final class Connection
{
    /** Bytes read from one connection before the others get their turn. */
    private const TURN = 1_048_576;
    /** A read that brought fewer bytes has most likely emptied the socket: asking again costs a system call. */
    private const SHORT_READ = 65_536;
    /** Nanoseconds a heartbeat may stay unanswered before a connection counts as dead. */
    private const PROBE_NANOS = 1_000_000_000;

    /** What tells it from every other connection there is. */
    public readonly int $key;
    /** @var array<string, Call> the async calls written here and not answered, by id */
    public array $inFlight = [];
    /** @var array<string, true> ids whose caller has given up, but whose reply may still come */
    public array $owed = [];
    /** Set when the host said that it goes away, or fell silent: no further call begins here. */
    public bool $retiring = false;
    /** Whether an exchange was ever completed here. */
    public bool $isProven = false;
    /** When a heartbeat under way has gone unanswered for too long, as hrtime(true); null: none is. */
    public ?int $probedUntil = null;
    /** Bytes of the output that the kernel has not taken yet. */
    public int $unsentBytes = 0;
    /** Bytes received by receive(). */
    public int $received = 0;
    /** When the last byte came, as hrtime(true). */
    public int $heardAt;
    /** When the connection was last at rest, as hrtime(true); 0: not known. */
    public int $restedAt;

    /** What was received. */
    public readonly FrameReader $reader;
    private string $unsent = '';
    private int $unsentOffset = 0;
    /** Bytes handed to the kernel since the connection was made. */
    private int $sent = 0;
    private readonly ?Spin $spin;
    /** Nanoseconds at rest after which the peer has to answer a heartbeat first, and after which it is the end. */
    private readonly int $healthCheckAfter;
    private readonly int $idleTimeout;

    public function __construct(private readonly Transport $transport, private readonly Options $options, int $now)
    {
        $this->key = spl_object_id($this);
        $this->reader = new FrameReader($options->maxFrameBytes);
        $this->heardAt = $now;
        $this->restedAt = $transport->hasHistory() ? 0 : $now;
        $this->spin = $options->spin > 0.0 ? new Spin((int) ($options->spin * 1e9)) : null;
        $this->healthCheckAfter = (int) ($options->healthCheckAfter * 1e9);
        $this->idleTimeout = (int) ($options->idleTimeout * 1e9);
    }

    /**
     * One sync request and its reply, nothing else being in flight here.
     *
     * @param string $frame    the whole frame
     * @param string $id       the id inside it
     * @param int    $deadline an instant of hrtime(true), nanoseconds
     * @return array{result?: mixed, error?: mixed} the reply
     * @throws JackfieldException after which the connection is out of step and has to be closed
     */
    public function exchange(string $frame, string $id, int $deadline): array
    {
        $this->write($frame, $deadline, 'request');
        while (true) {
            while ($this->reader->next()) {
                if ($this->reader->kind === Header::SYNC) {
                    $reply = Envelope::reply($this->reader->payload, $this->options->associative, $id);
                    // An error without an id is the host's word on a request whose id it could not read: replies
                    // to sync requests come in order, so it is this one's.
                    if (($reply['id'] ?? null) !== $id && (isset($reply['id']) || !isset($reply['error']))) {
                        throw new ProtocolException('the peer answered a sync request with another id');
                    }
                    if (isset($reply['error']) && Envelope::saysGoingAway($reply)) {
                        $this->retiring = true;
                    }

                    return $reply;
                }
                $this->aside(strlen($frame) - Header::LENGTH);
            }
            $this->more($deadline, 'reply');
        }
    }

    /**
     * A heartbeat, and its answer read.
     *
     * @throws JackfieldException after which the connection has to be closed
     */
    public function heartbeat(int $deadline): void
    {
        $this->write(Header::HEARTBEAT_FRAME, $deadline, 'heartbeat');
        while (true) {
            while ($this->reader->next()) {
                if ($this->reader->kind === Header::HEARTBEAT) {
                    return;
                }
                $this->aside(0);
            }
            $this->more($deadline, 'answer to a heartbeat');
        }
    }

    /**
     * Whether a connection that was at rest may be used now. One that lay idle for so long, or for who knows how long,
     * that it is doubtful has to answer a heartbeat first.
     *
     * @param int|null $deadline until when to wait for that answer, as hrtime(true); null: not here, it is read with
     *                           whatever else comes, and no call belongs on the connection before it
     */
    public function isSound(int $now, ?int $deadline): bool
    {
        $idle = $this->restedAt === 0 ? null : $now - $this->restedAt;
        if (
            $this->retiring
            || !$this->reader->isEmpty()
            || $idle !== null && $idle > $this->idleTimeout
            || !$this->transport->begin()
            // Whatever waits to be read answers nothing that will be asked: the end of the connection, a notice of
            // one, a reply too many.
            || !$this->transport->isQuiet()
        ) {
            return false;
        }
        if ($idle !== null && $idle <= $this->healthCheckAfter) {
            return true;
        }
        if ($deadline !== null) {
            return $this->answers(min($deadline, $now + self::PROBE_NANOS));
        }
        $this->unsent .= Header::HEARTBEAT_FRAME;
        $this->unsentBytes += Header::LENGTH;
        $this->probedUntil = $now + self::PROBE_NANOS;

        return true;
    }

    /** Puts the connection to rest. */
    public function rest(int $now): void
    {
        $this->restedAt = $now;
        $this->isProven = true;
        $this->transport->end();
    }

    /** Whether nothing is in flight or owed, so that the connection can rest. */
    public function isAtRest(): bool
    {
        return $this->inFlight === [] && $this->owed === [] && $this->probedUntil === null
            && $this->unsentBytes === 0 && $this->reader->isEmpty();
    }

    /** Queues a call's frame behind what is unsent. flush() sends it. */
    public function enqueue(Call $call): void
    {
        $this->unsent .= $call->frame;
        $this->unsentBytes += strlen($call->frame);
        $call->sentAt = $this->sent + $this->unsentBytes;
        $this->inFlight[$call->id] = $call;
    }

    /** Whether the kernel has taken the whole of a call's frame. */
    public function hasSent(Call $call): bool
    {
        return $call->sentAt <= $this->sent;
    }

    /**
     * Sends what can be sent without waiting.
     *
     * @return bool false when the peer has gone
     */
    public function flush(): bool
    {
        while ($this->unsentBytes > 0) {
            $written = $this->transport->write($this->unsent, $this->unsentOffset);
            if ($written === null) {
                return false;
            }
            if ($written === 0) {
                break;
            }
            $this->sent += $written;
            $this->unsentBytes -= $written;
            $this->unsentOffset += $written;
            if ($this->unsentBytes === 0) {
                $this->unsent = '';
                $this->unsentOffset = 0;
            } elseif ($this->unsentOffset >= self::TURN) {
                $this->unsent = substr($this->unsent, $this->unsentOffset);
                $this->unsentOffset = 0;
            }
        }

        return true;
    }

    /**
     * Reads what has come, up to a turn's worth.
     *
     * @return bool false when the peer has ended the connection
     */
    public function receive(int $now): bool
    {
        for ($taken = 0; $taken < self::TURN; $taken += strlen($bytes)) {
            $bytes = $this->transport->read();
            if ($bytes === null) {
                return false;
            }
            if ($bytes === '') {
                break;
            }
            $this->heardAt = $now;
            $this->received += strlen($bytes);
            $this->reader->push($bytes);
            if (strlen($bytes) < self::SHORT_READ) {
                break;
            }
        }

        return true;
    }

    /** @return resource */
    public function stream()
    {
        return $this->transport->stream();
    }

    public function close(): void
    {
        $this->transport->close();
    }

    /** Lets go of a connection at rest: a persistent socket stays for the next owner. */
    public function leave(): void
    {
        $this->transport->leave();
    }

    /** Asks the peer by a heartbeat and waits for its answer. */
    private function answers(int $deadline): bool
    {
        try {
            $this->heartbeat($deadline);
        } catch (JackfieldException) {
            return false;
        }

        return true;
    }

    /** What a `03` means for an exchange whose payload had `$length` bytes; other frames here belong to nobody. */
    private function aside(int $length): void
    {
        if ($this->reader->kind === Header::ERROR) {
            $notice = Notice::read($this->reader->payload);
            if ($notice->isGoingAway()) {
                $this->retiring = true;
            } elseif ($notice->concerns($length)) {
                throw $notice->error;
            }
        } elseif ($this->reader->kind === Header::ASYNC_REQUEST) {
            throw new ProtocolException('the peer sent a request');
        }
    }

    private function write(string $frame, int $deadline, string $what): void
    {
        $length = strlen($frame);
        $offset = 0;
        while (true) {
            $written = $this->transport->write($frame, $offset);
            if ($written === null) {
                $this->lastWords();
                throw new ConnectionLostException("the connection ended before the $what was sent", false);
            }
            $offset += $written;
            if ($offset === $length) {
                return;
            }
            if (!$this->transport->wait(true, $deadline)) {
                // Half a request: the connection is closed with it, and the host never starts it.
                throw new TimeoutException("the deadline passed while the $what was written", TimeoutException::WRITE, false);
            }
            // Reading while writing: a peer that waits for its own bytes to be taken would never take these.
            $bytes = $this->transport->read();
            if ($bytes !== null && $bytes !== '') {
                $this->reader->push($bytes);
            }
        }
    }

    private function more(int $deadline, string $what): void
    {
        if ($this->spin?->sees($this->transport, $deadline) !== true && !$this->transport->wait(false, $deadline)) {
            throw $this->reader->isEmpty()
                ? new TimeoutException("the deadline passed before the $what came", TimeoutException::WAIT, true)
                : new TimeoutException("the deadline passed in the middle of the $what", TimeoutException::READ, true);
        }
        $bytes = $this->transport->read();
        if ($bytes === null) {
            throw new ConnectionLostException("the connection ended before the $what came", true);
        }
        if ($bytes !== '') {
            $this->reader->push($bytes);
        }
    }

    /** A peer that refuses a connection says why before it closes; that is worth more than "broken pipe". */
    private function lastWords(): void
    {
        while (($bytes = $this->transport->read()) !== null && $bytes !== '') {
            $this->reader->push($bytes);
        }
        while ($this->reader->next()) {
            if ($this->reader->kind === Header::ERROR) {
                $notice = Notice::read($this->reader->payload);
                if ($notice->error instanceof RemoteException && !$notice->isGoingAway()) {
                    throw $notice->error;
                }
            }
        }
    }
}
