import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.security.Security;
import org.bouncycastle.jce.provider.BouncyCastleProvider;

/**
 * Makes and opens S/MIME messages with Bouncy Castle. It reads one request per
 * line from standard input and writes one answer per line to standard output:
 * "ok", "refused REASON" for a message that was found wanting, or "failed
 * REASON" for a request that could not be carried out. It ends at the end of
 * its input.
 */
public final class Peer {
    /** A verdict that the message is not acceptable. */
    static final class Refused extends Exception {
        Refused(String reason) {
            super(reason);
        }
    }

    private Peer() {
    }

    public static void main(String[] args) throws IOException {
        PrintStream answers = System.out;
        System.setOut(System.err); // nobody else writes among the answers
        BouncyCastleProvider provider = new BouncyCastleProvider();
        Security.addProvider(provider);
        answers.println("ready " + encode(provider.getInfo()));
        answers.flush();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            answers.println(answer(line));
            answers.flush();
        }
    }

    private static String answer(String line) {
        boolean opening = false;
        try {
            Request request = new Request(line);
            opening = request.get("verb").equals("open");
            byte[] result = opening ? open(request) : make(request);
            request.write(result);
            return "ok";
        } catch (Refused e) {
            return "refused " + encode(e.getMessage());
        } catch (Exception e) {
            // What the library throws while it reads a message is its verdict.
            return (opening && !(e instanceof Request.Mistake) ? "refused " : "failed ") + encode(describe(e));
        } catch (OutOfMemoryError | StackOverflowError e) {
            return "failed " + encode(e.toString());
        }
    }

    private static byte[] make(Request r) throws Exception {
        switch (r.get("kind")) {
            case "signed": return Signing.make(r);
            case "enveloped": return Enveloping.make(r);
            case "authenticated": return Authenticating.make(r);
            case "encrypted": return Plain.makeEncrypted(r);
            case "compressed": return Plain.makeCompressed(r);
            default: throw new Request.Mistake("cannot make " + r.get("kind"));
        }
    }

    private static byte[] open(Request r) throws Exception {
        switch (r.get("kind")) {
            case "signed": return Signing.open(r);
            case "enveloped": return Enveloping.open(r);
            case "authenticated": return Authenticating.open(r);
            case "encrypted": return Plain.openEncrypted(r);
            case "compressed": return Plain.openCompressed(r);
            case "digested": return Plain.openDigested(r);
            default: throw new Request.Mistake("cannot open " + r.get("kind"));
        }
    }

    private static String describe(Throwable e) {
        StringBuilder all = new StringBuilder();
        for (Throwable t = e; t != null; t = t.getCause()) {
            all.append(all.length() > 0 ? ": " : "").append(t);
        }
        StackTraceElement[] trace = e.getStackTrace();
        if (trace.length > 0) {
            all.append(" at ").append(trace[0]);
        }
        return all.toString();
    }

    private static String encode(String text) {
        return URLEncoder.encode(text == null ? "" : text, StandardCharsets.UTF_8);
    }
}
