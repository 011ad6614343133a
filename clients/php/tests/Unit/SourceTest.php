<?php

declare(strict_types=1);

namespace Jackfield\Tests\Unit;

use Jackfield\Tests\Support\Php81Check;
use PHPUnit\Framework\TestCase;

/**
 * Tests that the sources meet the declared requirements: PHP 8.1, no extension except json.
 */
final class SourceTest extends TestCase
{
    private const PACKAGE = __DIR__ . '/../..';

    /** Extensions that every PHP has, and the one that composer.json requires. */
    private const EXTENSIONS = ['Core', 'standard', 'SPL', 'pcre', 'random', 'json'];

    /** @return iterable<string, array{string}> */
    public static function sources(): iterable
    {
        $files = new \RecursiveIteratorIterator(
            new \RecursiveDirectoryIterator(self::PACKAGE . '/src', \FilesystemIterator::SKIP_DOTS)
        );
        foreach ($files as $file) {
            yield substr($file->getPathname(), strlen(self::PACKAGE) + 1) => [$file->getPathname()];
        }
        yield 'autoload.php' => [self::PACKAGE . '/autoload.php'];
    }

    /** @dataProvider sources */
    public function testUsesOnlyFeaturesOfPhp81(string $file): void
    {
        self::assertSame([], Php81Check::violations((string) file_get_contents($file)));
    }

    /** @dataProvider sources */
    public function testUsesNoExtensionExceptJson(string $file): void
    {
        $extension = static fn (string $f): string|false => (new \ReflectionFunction($f))->getExtensionName();
        $foreign = array_filter(
            Php81Check::calledFunctions((string) file_get_contents($file)),
            static fn (string $f): bool => !in_array($extension($f), self::EXTENSIONS, true)
        );

        // The only class that needs another extension checks whether it is loaded.
        $isSocketPool = str_ends_with($file, '/Compat/SocketPool.php');
        self::assertSame([], array_filter($foreign, static fn (string $f): bool => !(
            $isSocketPool && $extension($f) === 'sockets'
        )));
    }

    /** @dataProvider sources */
    public function testDeclaresStrictTypesAndStartsWithADocumentedClass(string $file): void
    {
        $doc = '/\*\*\n \* [A-Z][^\n]*\n(?: \*[^\n]*\n)*? \*/\n';
        $strict = 'declare\(strict_types=1\);\n';
        $class = '(?:final |abstract )?(?:class|interface|enum) \w+';

        self::assertMatchesRegularExpression(
            basename($file) === 'autoload.php'
                ? "#\\A<\\?php\n\n$doc\n$strict#"
                : "#\\A<\\?php\n\n$strict\nnamespace [^;]+;\n(?:\n|use [^;]+;\n)+$doc$class#",
            (string) file_get_contents($file)
        );
    }

    /** @return iterable<string, array{string}> */
    public static function newerFeatures(): iterable
    {
        yield 'readonly class' => ['final readonly class A {}'];
        yield 'null alone' => ['function f(): null {}'];
        yield 'false alone' => ['function f(false $a) {}'];
        yield 'true' => ['class A { private true|int $a; }'];
        yield 'disjunctive normal form' => ['function f((A&B)|null $a) {}'];
        yield 'constant in a trait' => ['trait A { const B = 1; }'];
        yield 'typed constant' => ['class A { const int B = 1; }'];
        yield 'constant by name' => ['$a = A::{$b};'];
        yield 'function of 8.2' => ['ini_parse_quantity("1K");'];
        yield 'function of 8.3, in a namespace' => ['namespace X; json_validate("1");'];
        yield 'function of 8.4' => ['\array_find([], fn () => true);'];
        yield 'class of 8.2' => ['new \Random\Randomizer();'];
        yield 'syntax of 8.4' => ['$a = new A()->b();'];
        yield 'property hook' => ['class A { public int $a { get => 1; } }'];
    }

    /** @dataProvider newerFeatures */
    public function testDetectsFeaturesNewerThanPhp81(string $code): void
    {
        self::assertNotSame([], Php81Check::violations("<?php\n$code"));
    }

    public function testComposerAndTheAutoloaderMapTheSameClasses(): void
    {
        $text = (string) file_get_contents(self::PACKAGE . '/composer.json');
        $composer = json_decode($text, true, 64, JSON_THROW_ON_ERROR);
        self::assertSame('jackfield/client', $composer['name']);
        self::assertSame(['php' => '>=8.1', 'ext-json' => '*'], $composer['require']);
        self::assertSame(['Jackfield\\' => 'src/'], $composer['autoload']['psr-4']);
        foreach (self::sources() as $name => [$file]) {
            if ($name !== 'autoload.php') {
                $class = 'Jackfield\\' . strtr(substr($name, strlen('src/'), -strlen('.php')), '/', '\\');
                $exists = class_exists($class) || interface_exists($class) || enum_exists($class);
                self::assertTrue($exists, "$file defines $class");
            }
        }
    }
}
